//! The chunks that WAV and AIFF files are made of, as they are written in practice.
//!
//! A chunk states its length, and programs get it wrong: a recorder that was killed left it 0, a program that wrote
//! into a pipe could not know it, an editor forgot the byte that pads an odd length, another counted its texts
//! wrongly. Readers that trust a length lose the sound behind it. Here an implausible chunk is a sign that the one
//! before it lied, and the next chunk that is needed is searched for.

use std::ops::Range;

use super::bytes::Section;
use super::error::FileError;

/// Most chunks before the sound. Ordinary files have up to a dozen.
const MOST: usize = 1000;

/// Bytes searched for the next chunk after a wrong length.
const SEARCHED: u64 = 1 << 20;

/// Bytes searched at once.
const BLOCK: usize = 1 << 16;

/// Least length that stands for "not known yet". Programs that write into a pipe state lengths from here up to the
/// maximum, and no file read here is nearly as long.
const UNKNOWN: u64 = 0x7fff_0000;

/// Byte order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As in WAV.
    Little,
    /// As in AIFF.
    Big,
}

impl Order {
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// A chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Its name.
    pub id: [u8; 4],
    /// Position of its content.
    pub body: u64,
    /// Bytes of content that it claims.
    pub length: u64,
}

/// Bytes of a file that are sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where they are.
    pub range: Range<u64>,
    /// Whether the chunk claims more than the file has.
    pub is_cut_short: bool,
}

impl Chunk {
    /// Where the next one begins if this one is honest: at an even position.
    fn end(&self) -> u64 {
        self.body
            .saturating_add(self.length)
            .saturating_add(self.length % 2)
    }

    /// The extent of its sound, which begins `skipped` bytes into it. A length of 0, or one that no file has, was never
    /// filled in: the sound goes on to the end of the file.
    pub(super) fn sound(&self, skipped: u64, length: u64, file: &Section) -> Extent {
        let start = self.body.saturating_add(skipped).min(file.len());
        let length = length.saturating_sub(skipped);
        let rest = file.len() - start;
        let is_known = length > 0 && length < UNKNOWN;
        let held = if is_known { length.min(rest) } else { rest };
        Extent {
            range: start..start + held,
            is_cut_short: is_known && length > rest,
        }
    }
}

/// Goes from chunk to chunk, and recovers after one that lied.
pub(super) struct Chunks<'a> {
    file: Section<'a>,
    order: Order,
    position: u64,
    /// Position of the last chunk's content: if the chunk lied, the next one is somewhere behind it.
    last: u64,
    /// Chunks read so far.
    count: usize,
    /// Ids worth searching for.
    wanted: &'static [&'static [u8; 4]],
}

impl<'a> Chunks<'a> {
    /// The chunks of a file from `position` on. A search looks for the `wanted` ids.
    pub(super) fn new(
        file: Section<'a>,
        order: Order,
        position: u64,
        wanted: &'static [&'static [u8; 4]],
    ) -> Self {
        Self {
            file,
            order,
            position,
            last: position,
            count: 0,
            wanted,
        }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When there are too many, or they cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, FileError> {
        self.count += 1;
        if self.count > MOST {
            return Err(FileError::Damaged(
                "it has more than 1,000 parts before its sound",
            ));
        }
        let honest = self.at(self.position)?.filter(Self::is_plausible);
        let chunk = match honest {
            Some(chunk) => Some(chunk),
            None => self.search()?,
        };
        if let Some(chunk) = chunk {
            self.last = chunk.body;
            self.position = chunk.end();
        }
        Ok(chunk)
    }

    fn at(&self, position: u64) -> Result<Option<Chunk>, FileError> {
        let header = self.file.array::<8>(position)?;
        Ok(header.map(|[a, b, c, d, length @ ..]| Chunk {
            id: [a, b, c, d],
            body: position + 8,
            length: self.order.u32(length).into(),
        }))
    }

    fn is_plausible(chunk: &Chunk) -> bool {
        chunk.id.iter().all(|byte| matches!(byte, b' '..=b'~'))
    }

    /// Searches for the next wanted chunk, from the beginning of the last one's content on.
    fn search(&self) -> Result<Option<Chunk>, FileError> {
        let mut block = vec![0; BLOCK];
        let mut start = self.last;
        while start < self.last.saturating_add(SEARCHED) {
            let filled = self.file.fill(&mut block, start)?;
            for (place, id) in block[..filled].windows(4).enumerate() {
                if !self.wanted.iter().any(|wanted| *wanted == id) {
                    continue;
                }
                if let Some(chunk) = self.at(start + place as u64)?
                    && self.may_be(&chunk)
                {
                    return Ok(Some(chunk));
                }
            }
            if filled < BLOCK {
                break;
            }
            // A name may lie across two blocks.
            start += (BLOCK - 3) as u64;
        }
        Ok(None)
    }

    /// Whether its length can be true, or was never filled in. Text that reads like a chunk's name claims lengths that
    /// no file has.
    fn may_be(&self, chunk: &Chunk) -> bool {
        chunk.length <= self.file.len() - chunk.body || chunk.length >= UNKNOWN
    }
}
