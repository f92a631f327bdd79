//! Sound as openWakeWord's models see it: a window of speech embeddings, one every 80 ms.
//!
//! Both networks are Google's, by way of openWakeWord (`AudioFeatures` in its `utils.py`, whose streaming this
//! follows): a mel spectrogram of 32 bands, and the speech embedding of Lin et al., "Training Keyword Spotters with
//! Limited and Synthesized Speech Data" (2020). They are embedded in the program.

use super::network::{Draft, Network};

/// Samples at 16 kHz that are one step: 80 ms.
pub(super) const CHUNK: usize = 1280;

/// Numbers in an embedding.
pub(super) const EMBEDDING: usize = 96;

/// Samples before a chunk that its mel frames reach back to.
const LOOK_BACK: usize = 480;

/// Mel bands.
const BANDS: usize = 32;

/// Mel frames that one embedding sees: 760 ms.
const SEEN: usize = 76;

const MEL: &[u8] = include_bytes!("../../../../models/keyword/melspectrogram.onnx");
const EMBED: &[u8] = include_bytes!("../../../../models/keyword/embedding.onnx");

/// The stream of features.
pub(super) struct Features {
    mel: Network,
    embed: Network,
    /// The last samples, in the range of 16-bit integers.
    sound: Vec<f32>,
    /// The last mel frames.
    frames: Vec<f32>,
    /// The last embeddings, as many as a word's model looks at.
    window: Vec<f32>,
    #[cfg(test)]
    computed: usize,
}

impl Features {
    /// Features of silence, of which the last `window` embeddings are kept.
    ///
    /// # Errors
    /// When the networks cannot be run here.
    pub(super) fn new(window: usize) -> Result<Self, String> {
        let mut features = Self {
            mel: Draft::read(MEL)?.ready(&[1, LOOK_BACK + CHUNK])?,
            embed: Draft::read(EMBED)?.ready(&[1, SEEN, BANDS, 1])?,
            sound: Vec::new(),
            frames: Vec::new(),
            window: vec![0.0; window * EMBEDDING],
            #[cfg(test)]
            computed: 0,
        };
        features.reset();
        Ok(features)
    }

    /// Forgets all sound.
    pub(super) fn reset(&mut self) {
        // The spectrogram of silence, and embeddings of nothing, as openWakeWord begins.
        self.sound = vec![0.0; LOOK_BACK + CHUNK];
        self.frames = vec![1.0; SEEN * BANDS];
        self.window.fill(0.0);
    }

    /// The window that ends with this chunk of samples in -1 to 1: embeddings of [`EMBEDDING`] numbers each.
    pub(super) fn push(&mut self, chunk: &[f32; CHUNK]) -> &[f32] {
        push(&mut self.sound, chunk.iter().map(|sample| sample * 32768.0));
        // Neither fails: both ran once when they were read, with the same shapes.
        if let Ok(frames) = self.mel.run(&self.sound) {
            push(&mut self.frames, frames.iter().map(|it| it / 10.0 + 2.0));
        }
        if let Ok(embedding) = self.embed.run(&self.frames) {
            push(&mut self.window, embedding.into_iter());
        }
        #[cfg(test)]
        {
            self.computed += 1;
        }
        &self.window
    }

    /// Chunks that were computed so far.
    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.computed
    }
}

/// Appends `new`, and drops as many numbers from the front.
fn push(numbers: &mut Vec<f32>, new: impl ExactSizeIterator<Item = f32>) {
    numbers.drain(..new.len());
    numbers.extend(new);
}
