//! The daemon's socket on the bus, in place of zbus's own, because messages must be limited before they are taken in:
//! zbus would hold messages of 128 MiB, and unpacks a variant to a hundred times its size.
//!
//! Descriptors are received with close-on-exec, so that programs of the daemon do not inherit them.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gemmad_api::{COMMANDS_PATH, Error, text};
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::connection::socket::{BoxedSplit, ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::message::{Flags, Header, Type};
use zbus::{Address, DBusError, Message, Variant};

use super::post::{BUS, Post};
use super::raw::{Raw, send};
use super::traffic::{Call, Verdict};

/// Most bytes of a message. The longest useful call has a prompt and a system prompt of 1 MiB each, and a schema of
/// 64 KiB.
const LARGEST: usize = 4 << 20;

/// Most bytes of a call of D-Bus's standard interfaces. Their arguments are short, and zbus unpacks the value of
/// `Properties.Set` before the daemon can check it.
const LARGEST_STANDARD: usize = 1 << 14;

/// Most descriptors of a message: `Stream` takes a pipe and a sound file.
const MOST_DESCRIPTORS: usize = 2;

/// Bytes of the fixed beginning of every message. The message's length follows from them.
const HEADER: usize = 16;

/// Most bytes of a message's header. Names have 255 bytes at most, and the paths of the objects fewer. A path has no
/// limit of its own, and an answer may repeat it.
const LARGEST_HEADER: usize = 1 << 12;

/// Most bytes of a header beyond [`LARGEST_HEADER`] that is still read, so that the call is answered.
const LARGEST_ANSWERED: usize = 1 << 16;

/// Methods whose calls may carry files.
const WITH_FILES: [&str; 4] = ["Ask", "Render", "Stream", "Transcribe"];

/// Size of the kernel's buffer of sent bytes, its bookkeeping included: some ten replies. dbus-daemon reads 2048 bytes of
/// a connection before it turns to the next (`dbus-transport-socket.c`, `max_bytes_read_per_iteration`).
const SEND_BUFFER: usize = 8 << 10;

/// Longest wait for the last messages to be sent.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The interface that halts.
const COMMANDS: &str = "org.gemmad1.Commands";

/// Connects to the bus.
///
/// # Errors
/// When no bus listens at this address, or it is no Unix socket.
pub(super) async fn connect(address: &Address) -> io::Result<BoxedSplit> {
    let unsupported = || {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{address} is no Unix socket"),
        )
    };
    let Transport::Unix(unix) = address.transport() else {
        return Err(unsupported());
    };
    let stream = match unix.path() {
        UnixSocket::File(path) => UnixStream::connect(path).await?,
        // A path that begins with NUL is an abstract name.
        UnixSocket::Abstract(name) => {
            let mut path = OsString::from("\0");
            path.push(name);
            UnixStream::connect(path).await?
        }
        _ => return Err(unsupported()),
    };
    // Messages that are in the socket are past being put in order.
    set_socket_send_buffer_size(&stream, SEND_BUFFER)?;
    let stream = Arc::new(stream);
    let post = Arc::new(Post::default());
    let mut writer = JoinSet::new();
    writer.spawn({
        let (post, stream) = (Arc::clone(&post), Arc::clone(&stream));
        async move { post.write(&stream).await }
    });
    let inbound = Inbound {
        raw: Raw(Arc::clone(&stream)),
        post: Arc::clone(&post),
    };
    let outbound = Outbound {
        stream,
        post,
        _writer: writer,
    };
    Ok(Split::new(Box::new(inbound), Box::new(outbound)))
}

/// The reading half, which limits messages.
#[derive(Debug)]
struct Inbound {
    raw: Raw,
    post: Arc<Post>,
}

#[async_trait]
impl ReadHalf for Inbound {
    async fn receive_message(
        &mut self,
        sequence: u64,
        bytes: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        loop {
            self.raw.fill(bytes, descriptors, HEADER).await?;
            let length = Length::of(bytes);
            if let Some(why) = length.excess() {
                if let Some(message) = self.hollow(sequence, length, bytes, descriptors).await? {
                    self.takes(&message, Some(why));
                }
                continue;
            }
            let message = self
                .raw
                .receive_message(sequence, bytes, descriptors)
                .await?;
            if self.takes(&message, None) {
                return Ok(message);
            }
        }
    }

    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.raw.recvmsg(buffer).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

impl Inbound {
    /// Reads an oversized message and keeps only its header, which names the caller to refuse. `None` if the header is
    /// too large as well.
    async fn hollow(
        &mut self,
        sequence: u64,
        length: Length,
        bytes: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Option<Message>> {
        log::debug!("a message of {} bytes is refused", length.total());
        if length.header > LARGEST_ANSWERED {
            self.raw.skip(bytes, descriptors, length.total()).await?;
            descriptors.clear();
            return Ok(None);
        }
        self.raw.fill(bytes, descriptors, length.header).await?;
        let mut rest = bytes.split_off(length.header);
        self.raw.skip(&mut rest, descriptors, length.body).await?;
        // With a body length of 0 it is a message like any other.
        bytes[4..8].fill(0);
        let message = self
            .raw
            .receive_message(sequence, bytes, descriptors)
            .await?;
        *bytes = rest;
        Ok(Some(message))
    }

    /// Whether the message goes to the objects. A call that is `unfit` for them is refused with that reason.
    fn takes(&self, message: &Message, unfit: Option<String>) -> bool {
        let header = message.header();
        let sender = header.sender().map_or("", |name| name.as_str());
        match message.message_type() {
            Type::MethodCall => {
                let call = call(message, &header);
                match self.post.with(|it| it.call(call, Instant::now())) {
                    Verdict::Take => {
                        let unfit = unfit.or_else(|| self::unfit(message));
                        let takes = unfit.is_none();
                        if let Some(why) = unfit {
                            self.refuse(&header, &Error::InvalidArgument(why));
                        }
                        takes
                    }
                    Verdict::Refuse(why) => {
                        self.refuse(&header, &Error::Busy(why.into()));
                        false
                    }
                    Verdict::Ignore => false,
                }
            }
            Type::MethodReturn | Type::Error => {
                if let Some(serial) = header.reply_serial() {
                    self.post.with(|it| it.answered(sender, serial));
                }
                unfit.is_none()
            }
            Type::Signal => {
                let is_left =
                    sender == BUS && header.member().is_some_and(|it| it == "NameOwnerChanged");
                if is_left
                    && let Ok((name, _, "")) = message.body().deserialize::<(&str, &str, &str)>()
                {
                    self.post.left(name);
                }
                unfit.is_none()
            }
        }
    }

    fn refuse(&self, call: &Header<'_>, why: &Error) {
        let wants_reply = !call.primary().flags().contains(Flags::NO_REPLY_EXPECTED);
        if wants_reply
            && let Ok(reply) = why.create_reply(call)
            && let Err(error) = self.post.add(&reply)
        {
            log::debug!("a call was not refused: {error}");
        }
    }
}

fn call<'a>(message: &Message, header: &'a Header<'_>) -> Call<'a> {
    // On another object it would be answered with an error, which takes zbus long.
    let is_halt = header.member().is_some_and(|it| it == "Halt")
        && header.interface().is_some_and(|it| it == COMMANDS)
        && header.path().is_some_and(|it| it == COMMANDS_PATH);
    Call {
        sender: header.sender().map_or("", |name| name.as_str()),
        serial: header.primary().serial_num(),
        bytes: message.data().len(),
        descriptors: message.data().fds().len(),
        wants_reply: !header.primary().flags().contains(Flags::NO_REPLY_EXPECTED),
        // `Halt` has no arguments, so a call with a body or with files does not count as one.
        halts: is_halt && message.body().is_empty() && message.data().fds().is_empty(),
    }
}

/// Why a call is refused as it arrives.
fn unfit(message: &Message) -> Option<String> {
    let header = message.header();
    let descriptors = message.data().fds().len();
    let member = header.member().map_or("", |name| name.as_str());
    let most = if WITH_FILES.contains(&member) {
        MOST_DESCRIPTORS
    } else {
        0
    };
    if descriptors > most {
        return Some(format!(
            "the call carries more files than it takes ({descriptors}, at most {most}); leave the others out"
        ));
    }
    let size = message.data().len();
    let interface = header.interface();
    let is_standard = interface.is_none_or(|name| name.starts_with("org.freedesktop.DBus."));
    if interface.is_some_and(|name| name == "org.freedesktop.DBus.Properties")
        && let Some(name) = unspeakable(message)
    {
        return Some(format!("{name:?} is the name of no property"));
    }
    (is_standard && size > LARGEST_STANDARD).then(|| too_large(size, LARGEST_STANDARD))
}

/// The name in a call of `Properties`, if it holds anything but the characters of names. An error would repeat it.
fn unspeakable(message: &Message) -> Option<String> {
    let body = message.body();
    let (interface, name) = match body.signature().to_string().as_str() {
        "s" => (body.deserialize::<&str>().ok()?, ""),
        "ss" => body.deserialize::<(&str, &str)>().ok()?,
        "ssv" => {
            let (interface, name, _) = body.deserialize::<(&str, &str, Variant<'_>)>().ok()?;
            (interface, name)
        }
        _ => return None,
    };
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '.';
    let mut names = [interface, name].into_iter();
    let wrong = names.find(|it| !it.chars().all(is_part));
    wrong.map(|it| text::line(it, 80).into_owned())
}

fn too_large(size: usize, most: usize) -> String {
    format!("the call has {size} bytes; at most {most} are taken; shorten its arguments")
}

/// The length of a message.
#[derive(Debug, Clone, Copy)]
struct Length {
    /// Bytes of its header, padding included.
    header: usize,
    /// Bytes of its body.
    body: usize,
}

impl Length {
    /// The length of the message that begins with these bytes, at least [`HEADER`].
    fn of(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let number = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            let number = match bytes[0] {
                b'B' => u32::from_be_bytes(number),
                _ => u32::from_le_bytes(number),
            };
            number as usize
        };
        Self {
            header: (HEADER + number(12)).next_multiple_of(8),
            body: number(4),
        }
    }

    fn total(self) -> usize {
        self.header + self.body
    }

    /// Why a message of this length is refused, if it is.
    fn excess(self) -> Option<String> {
        if self.header > LARGEST_HEADER {
            let header = self.header;
            return Some(format!(
                "the call has a header of {header} bytes; at most {LARGEST_HEADER} are taken; use a path that exists"
            ));
        }
        (self.total() > LARGEST).then(|| too_large(self.total(), LARGEST))
    }
}

/// The writing half.
#[derive(Debug)]
struct Outbound {
    stream: Arc<UnixStream>,
    post: Arc<Post>,
    /// Dropping it ends the writer.
    _writer: JoinSet<()>,
}

#[async_trait]
impl WriteHalf for Outbound {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        self.post.room().await?;
        self.post.add(message)
    }

    /// Sends bytes of the handshake, before there are messages.
    async fn sendmsg(
        &mut self,
        buffer: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        let stream = &self.stream;
        let send = || send(stream.as_fd(), buffer, descriptors);
        stream.async_io(Interest::WRITABLE, send).await
    }

    async fn close(&mut self) -> io::Result<()> {
        // A bus that reads nothing gets no last words.
        let _ = timeout(LAST_WORDS, self.post.sent()).await;
        rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Both).map_err(Into::into)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}
