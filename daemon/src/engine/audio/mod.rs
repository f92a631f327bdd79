//! Samples in, soft tokens out, while a turn is still being spoken.
//!
//! ```text
//! samples ─ mel ─► frames ─ encoder ─► soft tokens        (stream: one span of at most 30 s)
//!           └───────── spans: the turn, cut and with the tokens around each span ─────────┘
//! ```
//!
//! A [`Clip`] is sound that is finished already, such as a file; it goes the same way, all at once.

mod conformer;
mod cut;
mod encoder;
mod graph;
mod mel;
mod spans;
mod stream;
#[cfg(test)]
mod testing;
mod waveform;
mod weights;

use std::sync::Arc;

pub(super) use encoder::{Encoder, Options};
pub(super) use mel::Floor;
pub(super) use spans::{Rows, Spans};
pub(super) use weights::bytes;

use super::EngineError;
use crate::sound::{LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS};

/// Soft tokens in a second of sound (Gemma 4 model card).
pub const ROWS_PER_SECOND: u32 = 25;

/// [`SHORTEST_MS`] in samples.
const SHORTEST: usize = (SAMPLE_RATE * SHORTEST_MS / 1000) as usize;

/// [`LONGEST_SECONDS`] in samples.
const LONGEST: usize = (SAMPLE_RATE * LONGEST_SECONDS) as usize;

/// A finished stretch of mono sound at [`SAMPLE_RATE`], samples in -1..1.
#[derive(Debug)]
pub struct Clip {
    samples: Vec<f32>,
    is_cut_short: bool,
}

impl Clip {
    /// Takes 100 ms to 30 s of sound.
    ///
    /// # Errors
    /// [`EngineError::ClipLength`] when it is shorter or longer.
    pub fn new(samples: Vec<f32>) -> Result<Arc<Self>, EngineError> {
        Self::of_file(samples, false)
    }

    /// Like [`Clip::new`], for sound from a file. `is_cut_short`: the file breaks off before its end, which the
    /// statistics of answers report.
    ///
    /// # Errors
    /// [`EngineError::ClipLength`] when it is shorter or longer.
    pub fn of_file(samples: Vec<f32>, is_cut_short: bool) -> Result<Arc<Self>, EngineError> {
        if !(SHORTEST..=LONGEST).contains(&samples.len()) {
            return Err(EngineError::ClipLength {
                milliseconds: samples.len() * 1000 / SAMPLE_RATE as usize,
            });
        }
        Ok(Arc::new(Self {
            samples,
            is_cut_short,
        }))
    }

    /// Whether the sound is a file that breaks off before its end.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// The samples.
    pub(super) fn samples(&self) -> &[f32] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_a_tenth_of_a_second_to_thirty_seconds() {
        let new = |samples: usize| Clip::new(vec![0.0; samples]).map(|_| ());
        assert_eq!(new(0), Err(EngineError::ClipLength { milliseconds: 0 }));
        assert_eq!(new(1599), Err(EngineError::ClipLength { milliseconds: 99 }));
        assert_eq!(new(1600), Ok(()));
        assert_eq!(new(480_000), Ok(()));
        let too_long = new(640_000);
        assert_eq!(
            too_long,
            Err(EngineError::ClipLength {
                milliseconds: 40_000
            })
        );
    }
}
