//! What symphonia reads from, and the limits of the work that a file may cause.
//!
//! A file of 64 MiB can hold millions of tags, an index of the same size, or a packet as large as itself, and a reader
//! keeps what it reads. So the bytes it may read are limited, until the first packet and for each packet.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use symphonia::core::io::MediaSource;

use super::bytes::Section;

/// Most processor time for one file. Half a minute of any format takes a tenth of that on a Raspberry Pi 5; a file that
/// takes longer was made to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a reader may still do. It reads on one thread, whose processor time counts.
pub(super) struct Limits {
    /// Bytes that may be read.
    bytes: AtomicU64,
    /// Processor time of this thread at which [`PATIENCE`] ends.
    until: Duration,
}

/// Which limit a file exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    /// It holds more than sound.
    #[error("too much to read")]
    Bytes,
    /// It takes too long.
    #[error("too much to do")]
    Time,
}

impl Limits {
    /// Those of one file.
    pub(super) fn new() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            until: processor_time() + PATIENCE,
        }
    }

    /// Allows `bytes` bytes to be read from now on.
    pub(super) fn allow(&self, bytes: u64) {
        self.bytes.store(bytes, Relaxed);
    }

    /// Checks the processor time.
    ///
    /// # Errors
    /// [`Exceeded::Time`] when it is used up.
    pub(super) fn check(&self) -> Result<(), Exceeded> {
        if processor_time() > self.until {
            return Err(Exceeded::Time);
        }
        Ok(())
    }

    /// Which limit is exceeded now.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        if self.bytes.load(Relaxed) == 0 {
            return Some(Exceeded::Bytes);
        }
        self.check().err()
    }

    fn spend(&self, bytes: usize) -> Result<(), Exceeded> {
        self.check()?;
        let left = self.bytes.load(Relaxed);
        let left = left.saturating_sub(bytes as u64);
        self.bytes.store(left, Relaxed);
        if left == 0 {
            return Err(Exceeded::Bytes);
        }
        Ok(())
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A section of a file, and bytes that are read before it.
pub(super) struct Source<'a> {
    head: Vec<u8>,
    section: Section<'a>,
    position: u64,
    is_sought: bool,
    limits: &'a Limits,
}

impl<'a> Source<'a> {
    /// Reads `head` and then the section. `is_sought`: the reader may seek, and does.
    pub(super) fn new(
        head: Vec<u8>,
        section: Section<'a>,
        is_sought: bool,
        limits: &'a Limits,
    ) -> Self {
        Self {
            head,
            section,
            position: 0,
            is_sought,
            limits,
        }
    }

    fn len(&self) -> u64 {
        self.head.len() as u64 + self.section.len()
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let of_head = usize::try_from(self.position)
            .ok()
            .and_then(|position| self.head.get(position..))
            .filter(|rest| !rest.is_empty());
        let count = if let Some(rest) = of_head {
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        } else {
            let position = self.position - self.head.len() as u64;
            self.section.read_at(buffer, position)?
        };
        self.limits.spend(count).map_err(io::Error::other)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        // Seeking costs a byte too, or a file could make a reader do nothing else.
        self.limits.spend(1).map_err(io::Error::other)?;
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for Source<'_> {
    fn is_seekable(&self) -> bool {
        self.is_sought
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_before_the_section_and_both_can_be_gone_back_to() {
        let bytes = b"0123456789".as_slice();
        let section = Section::all(&bytes).unwrap().from(4);
        let limits = Limits::new();
        limits.allow(100);
        let mut source = Source::new(b"ab".to_vec(), section, true, &limits);
        let mut text = String::new();
        source.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), source.byte_len()), ("ab456789", Some(8)));
        source.seek(SeekFrom::End(-7)).unwrap();
        text.clear();
        source.read_to_string(&mut text).unwrap();
        assert_eq!(text, "b456789");
        assert!(source.seek(SeekFrom::Current(-9)).is_err());
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let bytes = [0_u8; 1000].as_slice();
        let limits = Limits::new();
        limits.allow(500);
        let mut source = Source::new(Vec::new(), Section::all(&bytes).unwrap(), true, &limits);
        let mut buffer = [0; 400];
        assert_eq!(limits.exceeded(), None);
        assert!(source.read(&mut buffer).is_ok());
        assert!(source.read(&mut buffer).is_err());
        assert_eq!(limits.exceeded(), Some(Exceeded::Bytes));
        limits.allow(500);
        assert!(source.read(&mut buffer).is_ok());
    }
}
