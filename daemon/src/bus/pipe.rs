//! Answers as JSON lines on a descriptor the client passed.

use std::io;
use std::os::fd::OwnedFd;

use gemmad_api::{Error, Event};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::refusal;
use crate::engine::{self, Answer};

/// The write end of a client's pipe or socket.
pub(super) struct Pipe {
    descriptor: AsyncFd<OwnedFd>,
}

impl Pipe {
    /// Takes a descriptor that can be waited for: a pipe or a socket, not a file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for any other.
    pub(super) fn new(descriptor: OwnedFd) -> Result<Self, Error> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::InvalidArgument(format!(
                "the descriptor cannot be written to as a stream ({why}); pass the write end of a pipe"
            ))
        };
        rustix::io::ioctl_fionbio(&descriptor, true).map_err(|error| wrong(&error))?;
        let interest = Interest::WRITABLE | Interest::ERROR;
        // Its replacement is an unsafe function for descriptors that somebody else may close; this
        // one is owned.
        #[allow(deprecated)]
        let descriptor =
            AsyncFd::with_interest(descriptor, interest).map_err(|error| wrong(&error))?;
        Ok(Self { descriptor })
    }

    /// Waits until the reader is gone.
    pub(super) async fn closed(&self) {
        // An error of the wait itself means that nothing can be written either.
        let _ = self.descriptor.ready(Interest::ERROR).await;
    }

    /// Writes the events of `answer` until it ends or the reader is gone; either drops it, which
    /// cancels what is still to be computed. A slow reader is waited for here and nowhere else.
    pub(super) async fn carry(self, mut answer: Answer) {
        loop {
            let event = tokio::select! {
                event = answer.next() => translate(event),
                () = self.closed() => return,
            };
            let last = !matches!(event, Event::Text { .. });
            if self.write_line(&event).await.is_err() || last {
                return;
            }
        }
    }

    async fn write_line(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            let written = self
                .descriptor
                .async_io(Interest::WRITABLE, |descriptor| write(descriptor, rest))
                .await?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

/// Writes without waiting. The signal that a closed pipe raises is ignored by Rust programs from
/// their start, so it shows as an error here.
fn write(descriptor: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(descriptor, bytes) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

fn translate(event: engine::Event) -> Event {
    match event {
        engine::Event::Text(piece) => Event::Text {
            text: piece.text,
            tokens: piece.tokens,
        },
        engine::Event::Done(stats) => Event::Done(stats),
        engine::Event::Failed(error) => {
            let (name, message) = refusal::name_and_message(&refusal::engine(&error));
            Event::Error { name, message }
        }
    }
}
