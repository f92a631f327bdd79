//! Input from standard input and named files, with a limit on each.
//!
//! A pipe may be silent for ever, and `/dev/zero` never ends. Reading is asynchronous, so that signals
//! end it; the user is told about a silent pipe; and every source has a maximum length.

use std::{
    fmt::{self, Display},
    io::{self, IsTerminal},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    time::timeout,
};

use crate::{failure::Failure, terminal};

/// Maximum length of a text, in bytes: more than any context holds, and still small enough for a bus message.
const LONGEST_TEXT: usize = 1 << 20;

/// Maximum length of sound that is not in a regular file, in bytes: 64 MiB, as much as the daemon reads.
const LONGEST_SOUND: usize = 64 << 20;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// Silence of a source after which the user is told that gemmactl waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Silence of a named source after which reading fails.
const SILENCE: Duration = Duration::from_mins(1);

/// A source of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// Standard input. Its writer may take any amount of time.
    Standard,
    /// A file by its path.
    File(&'a Path),
}

impl<'a> Source<'a> {
    /// The source called `path` on the command line, where `-` is standard input.
    pub fn named(path: &'a Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Standard
        } else {
            Self::File(path)
        }
    }

    /// Reads a text of at most 1 MiB.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the place of the first byte that is not UTF-8 text.
    pub async fn text(self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let mut reader = Reader::open(self).await?;
        while bytes.len() <= LONGEST_TEXT {
            match reader.piece(LONGEST_TEXT + 1 - bytes.len()).await? {
                [] => break,
                piece => bytes.extend_from_slice(piece),
            }
        }
        text(&self, bytes)
    }

    /// Opens sound for the daemon, which reads regular files from their current position. Any other
    /// source, such as a pipe, is copied into an unnamed file.
    pub async fn sound(self) -> Result<OwnedFd, Failure> {
        let reader = Reader::open(self).await?;
        let metadata = reader.file.metadata().await;
        if metadata.map_err(|error| self.unread(&error))?.is_file() {
            return Ok(reader.file.into_std().await.into());
        }
        self.copy(reader).await
    }

    async fn copy(self, mut reader: Reader<'_>) -> Result<OwnedFd, Failure> {
        let unwritten = |error: io::Error| {
            Failure::Failed(format!(
                "cannot keep the sound of {self} in memory: {error}. Write it to a file and name that"
            ))
        };
        let copy = memfd_create("sound", MemfdFlags::CLOEXEC);
        let copy = copy.map_err(|error| unwritten(error.into()))?;
        let mut copy = File::from_std(copy.into());
        let mut length = 0;
        loop {
            let piece = reader.piece(PIECE).await?;
            if piece.is_empty() {
                break;
            }
            length += piece.len();
            if length > LONGEST_SOUND {
                return Err(self.unusable("it is longer than 64 MiB. Give a part of it"));
            }
            copy.write_all(piece).await.map_err(unwritten)?;
        }
        copy.flush().await.map_err(unwritten)?;
        copy.rewind().await.map_err(unwritten)?;
        Ok(copy.into_std().await.into())
    }

    async fn open(self) -> io::Result<File> {
        match self {
            Self::Standard => {
                let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
                Ok(File::from_std(descriptor.into()))
            }
            Self::File(path) => File::open(path).await,
        }
    }

    fn unread(&self, error: &io::Error) -> Failure {
        Failure::Usage(format!("cannot read {self}: {error}"))
    }

    fn unusable(&self, why: &str) -> Failure {
        Failure::Usage(format!("cannot use {self}: {why}"))
    }
}

impl Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// An open source, and the buffer for the piece read last.
struct Reader<'a> {
    wait: Wait<'a>,
    file: File,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    async fn open(source: Source<'a>) -> Result<Self, Failure> {
        let mut wait = Wait::new(source);
        Ok(Self {
            // Opening a named pipe blocks until it has a writer.
            file: wait.until(source.open()).await?,
            wait,
            buffer: vec![0; PIECE],
        })
    }

    /// The next piece, of at most `most` bytes; empty at the end.
    async fn piece(&mut self, most: usize) -> Result<&[u8], Failure> {
        let room = self.buffer.len().min(most);
        let reading = self.file.read(&mut self.buffer[..room]);
        let length = self.wait.until(reading).await?;
        Ok(&self.buffer[..length])
    }
}

/// Waiting for a source that may be silent.
struct Wait<'a> {
    source: Source<'a>,
    /// Longest silence.
    silence: Duration,
    /// Whether the user knows about the wait: it was reported, or the source is their terminal.
    told: bool,
}

impl<'a> Wait<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            silence: match source {
                Source::Standard => Duration::MAX,
                Source::File(_) => SILENCE,
            },
            told: source == Source::Standard && io::stdin().is_terminal(),
        }
    }

    /// Waits for `work` on the source.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it fails, or takes longer than the longest silence.
    async fn until<T>(&mut self, work: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
        tokio::pin!(work);
        if !self.told && self.silence > PATIENCE {
            if let Ok(done) = timeout(PATIENCE, &mut work).await {
                return done.map_err(|error| self.source.unread(&error));
            }
            self.told = true;
            terminal::note(&format!("gemmactl: waiting for {}", self.source));
        }
        match timeout(self.silence, work).await {
            Ok(done) => done.map_err(|error| self.source.unread(&error)),
            Err(_) => Err(self.source.unusable("nothing came of it for a minute")),
        }
    }
}

/// Decodes the text `bytes` of the source called `name`, without a byte order mark.
///
/// # Errors
/// [`Failure::Usage`] with the place of the first byte that is not text.
pub fn text(name: &dyn Display, mut bytes: Vec<u8>) -> Result<String, Failure> {
    const MARK: &[u8] = "\u{FEFF}".as_bytes();
    if bytes.len() > LONGEST_TEXT {
        return Err(Failure::Usage(format!(
            "{name} is longer than 1 MiB, the most that is read of a text. Give a part of it"
        )));
    }
    if let [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] = *bytes {
        return Err(Failure::Usage(format!(
            "{name} is UTF-16 text. Convert it with `iconv -f UTF-16 -t UTF-8`"
        )));
    }
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        Failure::Usage(format!(
            "{}: not UTF-8 text, because of the byte 0x{:02X}. Convert it, for example with `iconv -f \
             ISO-8859-1 -t UTF-8`",
            place(name, &bytes[..valid]),
            bytes[valid]
        ))
    })?;
    match text.find('\0') {
        // D-Bus strings cannot hold a NUL byte.
        Some(end) => Err(Failure::Usage(format!(
            "{}: no text, because of a NUL byte. Give a text file",
            place(name, &text.as_bytes()[..end])
        ))),
        None => Ok(text),
    }
}

/// `NAME:LINE:BYTE` of the byte after `before`; line and byte are counted from 1.
fn place(name: &dyn Display, before: &[u8]) -> String {
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let byte = lines.next().map_or(0, <[u8]>::len) + 1;
    let line = lines.count() + 1;
    format!("{name}:{line}:{byte}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: Vec<u8>) -> String {
        match text(&Source::Standard, bytes) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let message = refused(b"one\ncaf\xe9 au lait".into());
        assert!(
            message.starts_with("standard input:2:4: not UTF-8"),
            "{message}"
        );
        assert!(message.contains("0xE9"), "{message}");
        let message = refused(b"ab\0c".into());
        assert!(
            message.starts_with("standard input:1:3: no text"),
            "{message}"
        );
        assert!(refused(b"\xff\xfea\0".into()).contains("UTF-16"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let read = text(&Source::Standard, b"\xef\xbb\xbf{}".into()).unwrap();
        assert_eq!(read, "{}");
    }

    #[test]
    fn a_mebibyte_is_read_and_a_byte_more_is_refused() {
        let most = vec![b'a'; 1 << 20];
        assert!(text(&Source::Standard, most.clone()).is_ok());
        assert!(refused([most, b"a".into()].concat()).contains("longer than 1 MiB"));
    }

    #[tokio::test]
    async fn a_text_without_end_is_read_to_its_limit_only() {
        let outcome = Source::named(Path::new("/dev/zero")).text().await;
        assert!(
            matches!(&outcome, Err(Failure::Usage(message)) if message.contains("longer than 1 MiB")),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_source_that_stays_silent_is_given_up() {
        let mut wait = Wait {
            silence: Duration::from_millis(10),
            ..Wait::new(Source::File(Path::new("silent")))
        };
        let outcome = wait.until(std::future::pending::<io::Result<()>>()).await;
        assert!(
            matches!(&outcome, Err(Failure::Usage(message)) if message.contains("nothing came")),
            "{outcome:?}"
        );
    }
}
