//! Sound files: whatever a client hands over becomes what the model hears, or a named error.
//!
//! | file | owns |
//! |---|---|
//! | here | what can be wrong with a file |
//! | `bytes` | where bytes come from: a regular file, or memory |
//! | `container` | which kind of file it is, and what reads it |
//! | `chunks`, `wave`, `aiff`, `raw` | uncompressed sound behind headers that do not tell the truth |
//! | `tags` | what stands before the sound, which nobody wants |
//! | `source` | what symphonia reads from, and how much it may do |
//! | `decoder`, `opus`, `vorbis` | packets → samples |
//! | `playing` | packet after packet, to the end or to the first fault |
//! | `gathering` | samples → 16 kHz, one channel, half a minute |
//!
//! The bytes come from anybody who may talk to the daemon, so everything is bounded here: how much is read, held and
//! computed, which rates and channel counts are believed. A file is never in memory as a whole.

use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::errors::Error as Fault;

use super::mix::Mix;
use crate::engine::{LONGEST_SECONDS, SHORTEST_MS};
use bytes::Section;
use gathering::Gathering;
use playing::Playing;
use source::Limits;

mod aiff;
mod bytes;
mod chunks;
mod container;
mod decoder;
mod gathering;
mod opus;
mod playing;
mod raw;
mod source;
mod tags;
mod vorbis;
mod wave;

pub use bytes::Bytes;

/// Most bytes a file may have: 30 s of 8 channels of 32 bits at 48 kHz would be 44 MiB.
const LARGEST: u64 = 64 << 20;

/// Sample rates that are believed: from below telephony to what studio cards do.
const RATES: RangeInclusive<u32> = 4_000..=384_000;

/// Channel counts that are believed.
const CHANNELS: RangeInclusive<usize> = 1..=32;

/// What makes a file that is understood out of most others.
const CONVERT: &str = "`ffmpeg -i FILE -ar 16000 -ac 1 speech.wav`";

/// Why a sound file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("the sound cannot be read: {0}; pass a regular file that is open for reading")]
    Unreadable(io::Error),
    /// There are no bytes.
    #[error("the sound file is empty (0 bytes); check whatever wrote it")]
    Empty,
    /// There are too many bytes.
    #[error(
        "the sound file is larger than {mib} MiB; convert it: {CONVERT}",
        mib = LARGEST >> 20
    )]
    TooLarge,
    /// The content is no known sound format, whatever the name says.
    #[error(
        "this is not a sound file, or none of a kind that is understood here: WAV, AIFF, FLAC, MP3, Ogg (Opus, \
         Vorbis), MP4, WebM or CAF; if it plays elsewhere, convert it: {CONVERT}"
    )]
    NotSound,
    /// A format that is known by name alone.
    #[error("this is {0} file, which cannot be decoded here; convert it: {CONVERT}")]
    Foreign(&'static str),
    /// A known container with something inside that we cannot decode.
    #[error("its sound is {0}, which cannot be decoded here; convert it: {CONVERT}")]
    Unsupported(String),
    /// The sample rate makes no sense.
    #[error(
        "the file claims {0} samples per second, and {low} to {high} are believed; \
         it is damaged, or convert it: {CONVERT}",
        low = RATES.start(),
        high = RATES.end()
    )]
    Rate(u32),
    /// The number of channels makes no sense.
    #[error(
        "the file claims {0} channels, and {low} to {high} are believed; \
         it is damaged, or convert it: {CONVERT}",
        low = CHANNELS.start(),
        high = CHANNELS.end()
    )]
    Channels(usize),
    /// It looks like sound, but nothing in it can be decoded.
    #[error("the sound file is damaged or cut off: {0}; record or copy it again")]
    Damaged(&'static str),
    /// There is much in it, but before any sound.
    #[error(
        "more texts, pictures or indices than sound are in this file; leave them out: {CONVERT}"
    )]
    Header,
    /// It keeps the processor busy for longer than any recording does.
    #[error("decoding this file takes longer than any recording needs; convert it: {CONVERT}")]
    Laborious,
    /// Too little sound.
    #[error("the sound is {0} ms long; speech needs at least {SHORTEST_MS} ms")]
    TooShort(u64),
    /// Too much sound. The length is in milliseconds, where the file states it.
    #[error(
        "the sound is {}; Gemma 4 hears at most {LONGEST_SECONDS} s: cut it into pieces, \
         `ffmpeg -i FILE -ar 16000 -ac 1 -f segment -segment_time {LONGEST_SECONDS} piece%d.wav`",
        long(*.0)
    )]
    TooLong(Option<u64>),
}

fn long(milliseconds: Option<u64>) -> String {
    match milliseconds.map(|it| it.div_ceil(100)) {
        Some(tenths) => format!("{}.{} s long", tenths / 10, tenths % 10),
        None => format!("longer than {LONGEST_SECONDS} s"),
    }
}

impl FileError {
    /// What a fault means for the whole file, if nothing of it could be decoded.
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("it ends too early")
            }
            Fault::Unsupported(_) => Self::Unsupported("of an unusual kind".into()),
            _ => Self::Damaged("what it holds makes no sense"),
        }
    }
}

/// What a sound file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The sound, 16 kHz mono.
    pub samples: Vec<f32>,
    /// Whether there ought to be more of it: the file is cut short or damaged.
    pub is_incomplete: bool,
}

/// Decodes a sound file to 16 kHz mono samples.
///
/// What kind of file it is follows from its content. Where several channels cancel each other when they are mixed, or
/// there are more than two, the loudest is heard. A file that ends too early gives the sound it has. It blocks for as
/// long as reading the file does, and takes up to 2 s of a processor.
///
/// # Errors
/// [`FileError`] says what is wrong with the file and what to do about it.
pub fn decode(bytes: &impl Bytes) -> Result<Decoded, FileError> {
    let file = Section::all(bytes)?;
    match file.len() {
        0 => return Err(FileError::Empty),
        length if length > LARGEST => return Err(FileError::TooLarge),
        _ => {}
    }
    let limits = Limits::new();
    let hear = || match hear(&file, &limits, Mix::Mean)? {
        (decoded, Mix::Mean) => Ok(decoded),
        (_, best) => hear(&file, &limits, best).map(|(decoded, _)| decoded),
    };
    // Readers of formats meet numbers here that their authors did not think of. Nothing of theirs is kept.
    let failed = Err(FileError::Damaged("its reader failed at what is in it"));
    let decoded = catch_unwind(AssertUnwindSafe(hear)).unwrap_or(failed)?;
    let milliseconds = decoded.samples.len() as u64 * 1000 / u64::from(super::resample::RATE);
    if milliseconds < u64::from(SHORTEST_MS) {
        return Err(FileError::TooShort(milliseconds));
    }
    Ok(decoded)
}

/// Decodes all of it in one way, and says which one would have been best.
fn hear(file: &Section, limits: &Limits, mix: Mix) -> Result<(Decoded, Mix), FileError> {
    let mut playing = Playing::new(limits, Gathering::new(mix));
    let mut next = Some(file.clone());
    while let Some(file) = next {
        next = playing.play(&file)?;
    }
    playing.finish()
}

fn check(rate: u32, channels: usize) -> Result<(), FileError> {
    if !RATES.contains(&rate) {
        return Err(FileError::Rate(rate));
    }
    if !CHANNELS.contains(&channels) {
        return Err(FileError::Channels(channels));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
