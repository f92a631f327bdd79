//! One word: its model, and when it counts as said.

use super::Spotted;
use super::features::{CHUNK, EMBEDDING, WINDOW};
use super::network::Network;
use crate::config;
use crate::voice::resample::samples;

/// The word.
pub(super) struct Word {
    name: String,
    network: Network,
    config: config::Word,
    /// Chunks for which it is not spotted again.
    refractory: usize,
    /// Chunks in a row that scored high.
    streak: u32,
    /// Chunks until it may be spotted again.
    rest: usize,
}

impl Word {
    /// Reads its model.
    ///
    /// # Errors
    /// Why that cannot be used.
    pub(super) fn load(config: &config::Word, refractory_ms: u32) -> Result<Self, String> {
        let onnx = std::fs::read(&config.model).map_err(|error| error.to_string())?;
        let name = config.model.file_stem().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            network: Network::read(&onnx, &[1, WINDOW, EMBEDDING], 1)?,
            config: config.clone(),
            refractory: samples(refractory_ms).div_ceil(CHUNK),
            streak: 0,
            rest: 0,
        })
    }

    /// Looks at the features of the last second, and says if the word has just been said.
    pub(super) fn hear(&mut self, features: &[f32]) -> Option<Spotted> {
        self.rest = self.rest.saturating_sub(1);
        // It was run when it was read.
        let score = *self.network.run(features).ok()?.first()?;
        self.streak = if score >= self.config.threshold.get() {
            self.streak + 1
        } else {
            0
        };
        if self.streak < self.config.patience.get() || self.rest > 0 {
            return None;
        }
        self.rest = self.refractory;
        Some(Spotted {
            word: self.name.clone(),
            meaning: self.config.means,
            score,
        })
    }

    /// Forgets all sound.
    pub(super) fn reset(&mut self) {
        self.streak = 0;
        self.rest = 0;
    }
}
