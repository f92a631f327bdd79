//! Sound files of clients → samples for the model, or a named error.
//!
//! | file | owns |
//! |---|---|
//! | `error` | what can be wrong with a file, and which of its claims are believed |
//! | `bytes` | where bytes come from: a regular file, or memory |
//! | `container` | which kind of file it is, and what reads it |
//! | `chunks`, `wave`, `aiff`, `raw` | uncompressed sound behind headers that do not tell the truth |
//! | `tags` | what stands before the sound and is skipped |
//! | `source` | what symphonia reads from, and the limits of its work |
//! | `decoder`, `opus`, `vorbis` | packets → samples |
//! | `playing` | packet after packet, to the end or to the first fault |
//! | `gathering` | samples → 16 kHz, one channel, half a minute |
//!
//! The bytes come from any client, so everything is bounded here: how much is read, held and computed, which rates and
//! channel counts are believed. A file is never in memory as a whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::mix::Mix;
use crate::sound::SHORTEST_MS;
use bytes::Section;
use error::LARGEST;
use gathering::Gathering;
use playing::Playing;
use source::Limits;

mod aiff;
mod bytes;
mod chunks;
mod container;
mod decoder;
mod error;
mod gathering;
mod opus;
mod playing;
mod raw;
mod source;
mod tags;
mod vorbis;
mod wave;

pub use bytes::Bytes;
pub use error::FileError;
pub use playing::Decoded;

/// Decodes a sound file to 16 kHz mono samples.
///
/// The content alone decides the kind of file. Channels are mixed; where they cancel each other, or there are more than
/// two, the loudest is heard alone. A file that ends too early gives the sound it has. Blocks while the file is read,
/// and takes up to 2 s of processor time.
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
    // Format readers may panic at numbers that their authors did not foresee. None of their state is kept.
    let failed = Err(FileError::Damaged("its content crashed the reader"));
    let decoded = catch_unwind(AssertUnwindSafe(hear)).unwrap_or(failed)?;
    let milliseconds = decoded.samples.len() as u64 * 1000 / u64::from(super::resample::RATE);
    if milliseconds < u64::from(SHORTEST_MS) {
        return Err(FileError::TooShort(milliseconds));
    }
    Ok(decoded)
}

/// Decodes the whole file with one mix, and returns the one that suits it best.
fn hear(file: &Section, limits: &Limits, mix: Mix) -> Result<(Decoded, Mix), FileError> {
    let mut playing = Playing::new(limits, Gathering::new(mix));
    let mut next = Some(file.clone());
    while let Some(file) = next {
        next = playing.play(&file)?;
    }
    playing.finish()
}

#[cfg(test)]
mod tests;
