//! Samples in, soft tokens out.
//!
//! A [`Clip`] is a finished stretch of sound. Its soft tokens are made once, by whichever request
//! comes first, and shared by every other request on the same clip (a spoken turn is both answered
//! and transcribed). What makes them is llama.cpp's own [`mtmd`], which takes whole clips.
//!
//! [`stream`] makes the same soft tokens while somebody is still speaking; the scheduler does not feed
//! it yet.

mod conformer;
mod directory;
mod encoder;
mod ggml;
mod graph;
mod mel;
mod mtmd;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod spectrogram;
mod stream;
mod waveform;
mod weights;
#[cfg(test)]
mod written;

use std::sync::{Arc, OnceLock};

pub(super) use mtmd::{Encoder, Projector};

use super::EngineError;

/// Sample rate of everything the model hears, in Hz (Gemma 4 model card).
pub const SAMPLE_RATE: u32 = 16_000;

/// Shortest clip in milliseconds. llama.cpp aborts on a clip of one sample (mtmd.cpp:1600), and
/// nothing shorter carries a word.
pub const SHORTEST_MS: u32 = 100;

/// Longest clip in seconds: what Gemma 4 was trained on (model card, "Audio"). llama.cpp restarts its
/// encoder there (mtmd-audio.cpp, `chunk_samples`).
pub const LONGEST_SECONDS: u32 = 30;

/// The same in samples.
const SHORTEST: usize = (SAMPLE_RATE * SHORTEST_MS / 1000) as usize;

/// The same in samples.
const LONGEST: usize = (SAMPLE_RATE * LONGEST_SECONDS) as usize;

/// A finished stretch of mono sound at [`SAMPLE_RATE`], samples in -1..1.
#[derive(Debug)]
pub struct Clip {
    samples: Vec<f32>,
    mel: OnceLock<Result<mtmd::Mel, EngineError>>,
    soft_tokens: OnceLock<Vec<f32>>,
}

impl Clip {
    /// Takes 100 ms to 30 s of sound.
    ///
    /// # Errors
    /// [`EngineError::ClipLength`] when it is shorter or longer.
    pub fn new(samples: Vec<f32>) -> Result<Arc<Self>, EngineError> {
        if !(SHORTEST..=LONGEST).contains(&samples.len()) {
            return Err(EngineError::ClipLength {
                milliseconds: samples.len() * 1000 / SAMPLE_RATE as usize,
            });
        }
        Ok(Arc::new(Self {
            samples,
            mel: OnceLock::new(),
            soft_tokens: OnceLock::new(),
        }))
    }

    /// Soft tokens the clip will make, 25 a second. Computes the mel spectrogram the first time.
    ///
    /// # Errors
    /// When llama.cpp cannot take the samples.
    pub(super) fn rows(&self, projector: &Projector) -> Result<usize, EngineError> {
        self.mel(projector).map(mtmd::Mel::rows)
    }

    /// The soft tokens, if they have been made: rows × width, row by row.
    pub(super) fn soft_tokens(&self) -> Option<&[f32]> {
        self.soft_tokens.get().map(Vec::as_slice)
    }

    /// Makes the soft tokens. Two callers at once would both work; only the engine thread calls.
    ///
    /// # Errors
    /// When llama.cpp fails.
    pub(super) fn encode(&self, encoder: &mut Encoder) -> Result<(), EngineError> {
        let mel = self.mel(encoder.projector())?;
        let soft_tokens = encoder.encode(mel)?;
        self.soft_tokens.get_or_init(|| soft_tokens);
        Ok(())
    }

    fn mel(&self, projector: &Projector) -> Result<&mtmd::Mel, EngineError> {
        self.mel
            .get_or_init(|| projector.mel(&self.samples))
            .as_ref()
            .map_err(Clone::clone)
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
