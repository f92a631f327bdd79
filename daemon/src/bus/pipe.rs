//! Answers as JSON lines on a descriptor the client passed.

use std::fmt::Display;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::time::Duration;

use gemmad_api::{Error, Event};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{AddressFamily, SendFlags, SocketType, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{refusal, terms};
use crate::assistant::typed::TypedAnswer;
use crate::engine;

/// Longest time in which a reader takes nothing before its answer is dropped. A person who reads page by page may need
/// minutes; a program that sleeps for ever is not waited for.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);

/// The offset for [`rustix::io::pwritev2`] that stands for none: pipes have no position.
const NO_OFFSET: u64 = u64::MAX;

/// The write end of a client's pipe, or its Unix socket.
#[derive(Debug)]
pub(super) struct Pipe {
    descriptor: AsyncFd<OwnedFd>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Pipe,
    Socket,
}

impl Pipe {
    /// Takes the write end of a pipe, or a connected Unix stream socket. Other descriptors do not report when their
    /// reader has gone.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for any other descriptor.
    pub(super) fn new(descriptor: OwnedFd) -> Result<Self, Error> {
        let kind = Kind::of(&descriptor)?;
        let interest = Interest::WRITABLE | Interest::ERROR;
        // Its replacement is an unsafe function, for descriptors that other code may close; this one
        // is owned.
        #[allow(deprecated)]
        let descriptor =
            AsyncFd::with_interest(descriptor, interest).map_err(|error| unfit(&error))?;
        Ok(Self { descriptor, kind })
    }

    /// Waits until the reader is gone: an error for a pipe, a hang-up for a socket. The hang-up is always reported, and
    /// tokio counts it as readiness to read.
    pub(super) async fn closed(&self) {
        // If the wait itself fails, the descriptor cannot be written either.
        let _ = self
            .descriptor
            .ready(Interest::ERROR | Interest::READABLE)
            .await;
    }

    /// Writes the events of `answer` until it ends, the reader is gone, or the reader takes nothing for `patience`.
    /// Each of these drops the answer, which cancels the rest of its generation. Only here does the daemon wait for a
    /// slow reader.
    pub(super) async fn carry(self, mut answer: TypedAnswer, patience: Duration) {
        loop {
            let event = tokio::select! {
                event = answer.next() => translate(event, &answer),
                () = self.closed() => return,
            };
            let last = !matches!(event, Event::Text { .. });
            match self.write_line(&event, patience).await {
                Ok(()) if last => return,
                Ok(()) => {}
                Err(error) => {
                    if error.kind() == io::ErrorKind::TimedOut {
                        log::warn!(
                            request = answer.id();
                            "the reader took nothing for {} s; its answer was dropped", patience.as_secs()
                        );
                    }
                    return;
                }
            }
        }
    }

    async fn write_line(&self, event: &Event, patience: Duration) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            let kind = self.kind;
            let writing = self.descriptor.async_io(Interest::WRITABLE, |descriptor| {
                kind.write(descriptor, rest)
            });
            let written = tokio::time::timeout(patience, writing).await??;
            rest = &rest[written..];
        }
        Ok(())
    }
}

impl Kind {
    fn of(descriptor: &OwnedFd) -> Result<Self, Error> {
        // Asked of the kernel alone: `fstat` would ask a file's system, which may be a program that never answers.
        if let Ok(kind) = sockopt::socket_type(descriptor) {
            let domain = sockopt::socket_domain(descriptor).map_err(|error| unfit(&error))?;
            if kind != SocketType::STREAM || domain != AddressFamily::UNIX {
                return Err(unfit(&"it is no Unix stream socket"));
            }
            rustix::net::getpeername(descriptor)
                .map_err(|_| unfit(&"the socket is not connected"))?;
            return Ok(Self::Socket);
        }
        if fcntl_getpipe_size(descriptor).is_err() {
            return Err(unfit(&"it is neither a pipe nor a socket"));
        }
        let flags = fcntl_getfl(descriptor).map_err(|error| unfit(&error))?;
        // A descriptor open for reading too would keep the pipe open after its last reader has gone.
        if flags & OFlags::RWMODE != OFlags::WRONLY {
            return Err(unfit(&"it is no write end of a pipe"));
        }
        Ok(Self::Pipe)
    }

    /// Writes without blocking, whatever the client does to the flags of the open file that both processes share.
    /// SIGPIPE, which a closed pipe raises, is ignored by Rust programs from their start, so it shows as an error here.
    fn write(self, descriptor: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match self {
                Self::Socket => {
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    rustix::net::send(descriptor, bytes, flags)
                }
                Self::Pipe => write_to_pipe(descriptor, bytes),
            };
            match written {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

fn write_to_pipe(descriptor: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    let parts = [IoSlice::new(bytes)];
    match rustix::io::pwritev2(descriptor, &parts, NO_OFFSET, ReadWriteFlags::NOWAIT) {
        // Linux before 6.4 supports this for files only.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => splice_to_pipe(descriptor, bytes),
        result => result,
    }
}

/// Writes by way of a pipe of the daemon's own. Between two pipes the flags of the call decide whether it blocks, not
/// those of the client's pipe, which may change at any time.
fn splice_to_pipe(descriptor: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (own_reader, own_writer) = pipe_with(flags)?;
    let filled = rustix::io::write(own_writer, bytes)?;
    splice(
        own_reader,
        None,
        descriptor,
        None,
        filled,
        SpliceFlags::NONBLOCK,
    )
}

fn unfit(why: &dyn Display) -> Error {
    Error::InvalidArgument(format!(
        "the answer cannot be written to this descriptor: {why}; pass the write end of a pipe"
    ))
}

fn translate(event: engine::Event, answer: &TypedAnswer) -> Event {
    match event {
        engine::Event::Text(piece) => Event::Text {
            text: piece.text,
            tokens: piece.tokens,
        },
        engine::Event::Done(stats) => Event::Done(terms::stats(stats, answer)),
        engine::Event::Failed(error) => {
            let (name, message) = refusal::name_and_message(&refusal::engine(&error));
            Event::Error { name, message }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use rustix::net::{SocketFlags, socketpair};

    use super::*;

    fn text(length: usize) -> Event {
        Event::Text {
            text: "x".repeat(length),
            tokens: vec![1],
        }
    }

    /// The reading and the writing end of a pipe, and those of a pair of sockets.
    fn ends() -> [(OwnedFd, OwnedFd); 2] {
        let (reader, writer) = io::pipe().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        [(reader.into(), writer.into()), (one.into(), other.into())]
    }

    #[tokio::test]
    async fn the_write_end_of_a_pipe_and_a_connected_unix_stream_take_an_answer() {
        for (reader, writer) in ends() {
            let pipe = Pipe::new(writer).unwrap();
            pipe.write_line(&text(3), PATIENCE).await.unwrap();
            drop(pipe);
            let mut said = String::new();
            std::fs::File::from(reader)
                .read_to_string(&mut said)
                .unwrap();
            assert_eq!(
                said,
                "{\"type\":\"text\",\"text\":\"xxx\",\"tokens\":[1]}\n"
            );
        }
    }

    #[tokio::test]
    async fn a_descriptor_that_does_not_tell_when_its_reader_has_gone_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (reader, _writer) = io::pipe().unwrap();
        let (datagram, _peer) = UnixDatagram::pair().unwrap();
        let seqpacket = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let both = std::fs::File::options().read(true).write(true).open(&fifo);
        let unfit: [(&str, OwnedFd); 10] = [
            ("the read end of a pipe", reader.into()),
            ("both ends of a pipe", both.unwrap().into()),
            ("a datagram socket", datagram.into()),
            ("a packet socket", seqpacket.unwrap().0),
            (
                "a listening socket",
                UnixListener::bind(folder.path().join("socket"))
                    .unwrap()
                    .into(),
            ),
            (
                "a TCP socket",
                TcpStream::connect(listener.local_addr().unwrap())
                    .unwrap()
                    .into(),
            ),
            (
                "a UDP socket",
                UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            ),
            ("a file", tempfile::tempfile().unwrap().into()),
            (
                "a device",
                std::fs::File::create("/dev/null").unwrap().into(),
            ),
            (
                "a folder",
                std::fs::File::open(folder.path()).unwrap().into(),
            ),
        ];
        for (name, descriptor) in unfit {
            let refused = Pipe::new(descriptor);
            assert!(
                matches!(refused, Err(Error::InvalidArgument(_))),
                "{name}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_reader_that_closes_its_end_is_noticed_at_once() {
        for (reader, writer) in ends() {
            let pipe = Pipe::new(writer).unwrap();
            let seen = tokio::time::timeout(Duration::from_millis(50), pipe.closed()).await;
            assert!(seen.is_err(), "{pipe:?} was closed before");
            drop(reader);
            let seen = tokio::time::timeout(Duration::from_secs(10), pipe.closed()).await;
            assert!(seen.is_ok(), "{pipe:?}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up() {
        for (_reader, writer) in ends() {
            let pipe = Pipe::new(writer).unwrap();
            let written = pipe
                .write_line(&text(1 << 22), Duration::from_millis(50))
                .await;
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn a_client_that_makes_its_full_pipe_block_holds_up_nobody() {
        for (_reader, writer) in ends() {
            let same = writer.try_clone().unwrap();
            let pipe = Pipe::new(writer).unwrap();
            let filled = pipe
                .write_line(&text(1 << 22), Duration::from_millis(50))
                .await;
            assert_eq!(filled.unwrap_err().kind(), io::ErrorKind::TimedOut);
            rustix::io::ioctl_fionbio(&same, false).unwrap();
            let written = pipe.kind.write(pipe.descriptor.get_ref(), b"more");
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            if matches!(pipe.kind, Kind::Pipe) {
                let written = splice_to_pipe(pipe.descriptor.get_ref(), b"more");
                assert_eq!(written, Err(Errno::AGAIN));
            }
        }
    }

    #[test]
    fn where_linux_is_old_an_answer_goes_by_way_of_another_pipe() {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let text = vec![b'x'; 100_000];
        // The capacity of a pipe.
        assert_eq!(splice_to_pipe(&writer, &text), Ok(65_536));
        assert_eq!(splice_to_pipe(&writer, b"more"), Err(Errno::AGAIN));
        reader.read_exact(&mut vec![0; 65_536]).unwrap();
        assert_eq!(splice_to_pipe(&writer, b"more"), Ok(4));
        drop(reader);
        assert_eq!(splice_to_pipe(&writer, b"more"), Err(Errno::PIPE));
    }
}
