//! What can be wrong with a sound file, and which of its claims are believed.

use std::io;
use std::ops::RangeInclusive;

use symphonia::core::errors::Error as Fault;

use crate::sound::{LONGEST_SECONDS, SHORTEST_MS};

/// Most bytes a file may have: 30 s of 8 channels of 32 bits at 48 kHz would be 44 MiB.
pub(super) const LARGEST: u64 = 64 << 20;

/// Sample rates that are believed: from below telephony to what studio cards do.
pub(super) const RATES: RangeInclusive<u32> = 4_000..=384_000;

/// Channel counts that are believed.
pub(super) const CHANNELS: RangeInclusive<usize> = 1..=32;

/// Command that converts most files to one that is understood.
const CONVERT: &str = "`ffmpeg -i FILE -ar 16000 -ac 1 speech.wav`";

/// Why a sound file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("the sound cannot be read: {0}; pass a regular file that is open for reading")]
    Unreadable(io::Error),
    /// There are no bytes.
    #[error("the sound file is empty (0 bytes); check the program that wrote it")]
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
    /// It holds too much besides sound: texts, pictures, indices, codec tables.
    #[error(
        "more texts, pictures or indices than sound are in this file; leave them out: {CONVERT}"
    )]
    Header,
    /// It takes more processor time than any recording needs.
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
    pub(super) fn of(fault: &Fault) -> Self {
        match fault {
            Fault::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("it ends too early")
            }
            Fault::Unsupported(_) => Self::Unsupported("of an unusual kind".into()),
            _ => Self::Damaged("what it holds makes no sense"),
        }
    }
}

/// Checks the rate and channel count that a file claims.
///
/// # Errors
/// [`FileError::Rate`] or [`FileError::Channels`] for the one that is not believed.
pub(super) fn check(rate: u32, channels: usize) -> Result<(), FileError> {
    if !RATES.contains(&rate) {
        return Err(FileError::Rate(rate));
    }
    if !CHANNELS.contains(&channels) {
        return Err(FileError::Channels(channels));
    }
    Ok(())
}
