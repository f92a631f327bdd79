//! The messages to the bus, from the decision about each to the socket.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gemmad_api::Error;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use zbus::message::Header;
use zbus::names::BusName;
use zbus::{DBusError, Message};

use super::outbox::Outbox;
use super::raw::send;
use super::traffic::{Parting, Traffic};

/// The bus itself, as a sender or a destination.
pub(super) const BUS: &str = "org.freedesktop.DBus";

/// The traffic with all clients, and the messages that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Post {
    state: Mutex<State>,
    /// Wakes the writer.
    added: Notify,
    /// Wakes those that wait for room, or for the end of the last message.
    sent: Notify,
}

#[derive(Debug, Default)]
struct State {
    traffic: Traffic,
    outbox: Outbox<Message>,
    /// Whether the writer is at work on a message.
    is_sending: bool,
    /// Why nothing can be sent any more.
    broken: Option<io::ErrorKind>,
}

impl Post {
    /// Changes or reads the traffic.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Traffic) -> T) -> T {
        work(&mut self.state().traffic)
    }

    /// Forgets a client that has left.
    pub(super) fn left(&self, name: &str) {
        let mut state = self.state();
        state.traffic.left(name);
        state.outbox.forget(name);
    }

    /// Adds a message, and the ping if one is to follow it. A reply may be dropped, or become a refusal.
    ///
    /// # Errors
    /// When the bus is gone.
    pub(super) fn add(&self, message: &Message) -> zbus::Result<()> {
        let added = self.state().add(message);
        self.added.notify_one();
        added
    }

    /// Waits until there is room for a message.
    ///
    /// # Errors
    /// When the bus is gone.
    pub(super) async fn room(&self) -> io::Result<()> {
        self.until(|state| !state.outbox.is_full()).await
    }

    /// Waits until all is sent.
    ///
    /// # Errors
    /// When the bus is gone.
    pub(super) async fn sent(&self) -> io::Result<()> {
        self.until(|state| state.outbox.is_empty() && !state.is_sending)
            .await
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) -> io::Result<()> {
        loop {
            // Before the look, so that no change is missed.
            let sent = self.sent.notified();
            {
                let state = self.state();
                if let Some(kind) = state.broken {
                    return Err(kind.into());
                }
                if is_so(&state) {
                    return Ok(());
                }
            }
            sent.await;
        }
    }

    /// Sends the messages, until the bus is gone.
    pub(super) async fn write(&self, stream: &UnixStream) {
        loop {
            let next = self.state().next();
            let Some(message) = next else {
                self.sent.notify_waiters();
                self.added.notified().await;
                continue;
            };
            if let Err(error) = write(stream, &message).await {
                log::error!("the bus takes no more messages: {error}");
                self.state().broken = Some(error.kind());
                self.sent.notify_waiters();
                // Part of a message may have been sent, so nothing can follow it. The reader then ends the connection.
                let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
                return;
            }
            self.sent.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, message: &Message) -> zbus::Result<()> {
        if let Some(kind) = self.broken {
            return Err(io::Error::from(kind).into());
        }
        match self.part(message) {
            Parting::Spare => Ok(()),
            Parting::Send { pings } => {
                self.push(message.clone());
                self.follow(message, pings)
            }
            Parting::Refuse { pings } => {
                self.push(no_room(&message.header())?);
                self.follow(message, pings)
            }
        }
    }

    fn next(&mut self) -> Option<Message> {
        let next = self.outbox.pop();
        self.is_sending = next.is_some();
        next
    }

    fn part(&mut self, message: &Message) -> Parting {
        let header = message.header();
        let (Some(to), Some(serial)) = (header.destination(), header.reply_serial()) else {
            return Parting::Send { pings: false };
        };
        let bytes = message.data().len();
        self.traffic.reply(to, serial, bytes, Instant::now())
    }

    fn push(&mut self, message: Message) {
        let bytes = message.data().len();
        let header = message.header();
        // Calls of the bus are the daemon's own, and few.
        let client = header.destination().filter(|name| *name != BUS);
        let client = client.map(ToString::to_string);
        self.outbox.push(message, bytes, client.as_deref());
    }

    /// Adds the ping that follows a reply.
    fn follow(&mut self, reply: &Message, pings: bool) -> zbus::Result<()> {
        let header = reply.header();
        if let Some(client) = header.destination()
            && pings
        {
            let ping = ping(client)?;
            self.traffic
                .pinged(client, ping.primary_header().serial_num());
            self.push(ping);
        }
        Ok(())
    }
}

/// Sends a message. The daemon's messages carry no descriptors.
async fn write(stream: &UnixStream, message: &Message) -> io::Result<()> {
    let mut left = &**message.data();
    while !left.is_empty() {
        let send = || send(stream.as_fd(), left, &[]);
        match stream.async_io(Interest::WRITABLE, send).await {
            Ok(count) => left = &left[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A ping with a serial number that cannot be guessed. It is from the upper half of the range, because zbus counts its
/// own messages from 1.
fn ping(client: &BusName<'_>) -> zbus::Result<Message> {
    let [.., a, b, c, d] = RandomState::new().hash_one(client.as_str()).to_ne_bytes();
    let serial = NonZeroU32::MIN | u32::from_ne_bytes([a, b, c, d]) | 1 << 31;
    Message::method_call("/", "Ping")
        .destination(client)
        .interface("org.freedesktop.DBus.Peer")
        .serial(serial)
        .build(&())
}

/// The refusal that is sent in place of `reply`.
fn no_room(reply: &Header<'_>) -> zbus::Result<Message> {
    let (Some(BusName::Unique(client)), Some(serial)) = (reply.destination(), reply.reply_serial())
    else {
        return Err(zbus::Error::InvalidField);
    };
    // An error reply takes its destination and its reply serial from a call.
    let call = Message::method_call("/", "Call").sender(client);
    let call = call.serial(serial).build(&())?;
    let why =
        "clients have not read so many replies that there is no room for this one; try again later";
    Error::Busy(why.into()).create_reply(&call.header())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn when_the_bus_takes_no_more_all_that_waits_fails_and_the_reader_ends() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        drop(
            theirs
                .into_std()
                .unwrap()
                .shutdown(std::net::Shutdown::Read),
        );
        let post = Arc::new(Post::default());
        let message = Message::method_call("/", "Do").build(&()).unwrap();
        post.add(&message).unwrap();
        post.write(&ours).await;
        assert!(post.add(&message).is_err());
        assert!(post.room().await.is_err() && post.sent().await.is_err());
        let mut rest = vec![];
        let end = tokio::time::timeout(Duration::from_secs(10), ours.read_to_end(&mut rest));
        assert_eq!(end.await.unwrap().unwrap(), 0);
    }
}
