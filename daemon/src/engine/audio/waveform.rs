//! Samples as they are, cut into rows: the front of the encoder-free projector (`gemma4ua`).

/// Samples in a row: 40 ms (clip.cpp:1994).
pub(super) const FRAME: usize = 640;

/// The waveform of one utterance, as far as it has been heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Waveform {
    rest: usize,
}

impl Waveform {
    /// Takes samples and appends them to `frames`. The last row there may be incomplete.
    pub(super) fn push(&mut self, samples: &[f32], frames: &mut Vec<f32>) {
        frames.extend_from_slice(samples);
        self.rest = (self.rest + samples.len()) % FRAME;
    }

    /// Completes the last row with zeros.
    pub(super) fn finish(&mut self, frames: &mut Vec<f32>) {
        if self.rest > 0 {
            frames.resize(frames.len() + FRAME - self.rest, 0.0);
            self.rest = 0;
        }
    }
}
