//! Bytes that can be read at any position: a client's regular file, or memory.

use std::fs::File;
use std::io::{self, Seek};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::error::FileError;

/// Bytes of a known size that can be read at any position.
pub trait Bytes: Send + Sync {
    /// Positions of the first byte and of the one after the last.
    ///
    /// # Errors
    /// When the size is not known.
    fn extent(&self) -> io::Result<Range<u64>>;

    /// Reads bytes from `position` on; returns how many, 0 at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

/// From the descriptor's current position to the file's end. That position, which a client shares, is not moved.
impl Bytes for File {
    fn extent(&self) -> io::Result<Range<u64>> {
        let mut file = self;
        Ok(file.stream_position()?..self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, position)
    }
}

impl Bytes for &[u8] {
    fn extent(&self) -> io::Result<Range<u64>> {
        Ok(0..self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let from = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or_default();
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// A part of some bytes, with positions of its own that begin at 0.
#[derive(Clone)]
pub(super) struct Section<'a> {
    bytes: &'a dyn Bytes,
    range: Range<u64>,
}

impl<'a> Section<'a> {
    /// All of them.
    ///
    /// # Errors
    /// [`FileError::Unreadable`] when their size is not known.
    pub(super) fn all(bytes: &'a dyn Bytes) -> Result<Self, FileError> {
        let range = bytes.extent().map_err(FileError::Unreadable)?;
        Ok(Self { bytes, range })
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// The part in this range, which is clipped to the section.
    pub(super) fn part(&self, range: Range<u64>) -> Self {
        let place = |position: u64| self.range.start.saturating_add(position.min(self.len()));
        Self {
            bytes: self.bytes,
            range: place(range.start)..place(range.end),
        }
    }

    /// What follows a position.
    pub(super) fn from(&self, position: u64) -> Self {
        self.part(position..self.len())
    }

    /// Reads bytes from `position` on; returns how many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let left = self.len().saturating_sub(position);
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.bytes
            .read_at(&mut buffer[..most], self.range.start + position)
    }

    /// Fills as much of `buffer` as there are bytes; returns how many.
    ///
    /// # Errors
    /// [`FileError::Unreadable`] when they cannot be read.
    pub(super) fn fill(&self, buffer: &mut [u8], position: u64) -> Result<usize, FileError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::Unreadable(error)),
            }
        }
        Ok(filled)
    }

    /// The `N` bytes at a position; `None` if there are fewer.
    ///
    /// # Errors
    /// [`FileError::Unreadable`] when they cannot be read.
    pub(super) fn array<const N: usize>(
        &self,
        position: u64,
    ) -> Result<Option<[u8; N]>, FileError> {
        let mut array = [0; N];
        let filled = self.fill(&mut array, position)?;
        Ok((filled == N).then_some(array))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{SeekFrom, Write};

    use super::*;

    #[test]
    fn a_file_is_read_from_its_position_on_and_that_stays() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let section = Section::all(&file).unwrap();
        assert_eq!(section.len(), 6);
        assert_eq!(section.array::<2>(0).unwrap(), Some(*b"45"));
        assert_eq!(section.part(2..4).array::<2>(0).unwrap(), Some(*b"67"));
        assert_eq!(section.part(2..4).array::<3>(0).unwrap(), None);
        assert_eq!(section.from(9).len(), 0);
        assert_eq!(file.stream_position().unwrap(), 4);
    }
}
