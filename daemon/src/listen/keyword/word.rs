//! One word: its model, and when it counts as said.

use super::features::{CHUNK, EMBEDDING};
use super::network::{Draft, Network};
use super::spotted::Spotted;
use crate::config;
use crate::platform::file::{self, Regular};
use crate::sound::resample::samples;

/// Most embeddings a model may look at, one every 80 ms: 10 s. Those for words of three syllables look at 16, those for
/// phrases at up to 40.
const LONGEST_WINDOW: usize = 125;

/// Most bytes of a model. Those of openWakeWord have 200 kB to 2 MB.
const LONGEST: usize = 16 << 20;

/// The window of a model whose file leaves it open, which is what openWakeWord trains.
const USUAL_WINDOW: usize = 16;

/// The word.
pub(super) struct Word {
    name: String,
    network: Network,
    /// Embeddings it looks at.
    pub window: usize,
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
    /// Why that cannot be used; the file is named.
    pub(super) fn load(config: &config::Word, refractory_ms: u32) -> Result<Self, String> {
        let onnx = Regular::open(&config.model).and_then(|file| file.bytes(LONGEST));
        let onnx = onnx.map_err(|problem| problem.to_string())?;
        let name = config.model.file_stem().unwrap_or_default();
        let named = |why: String| format!("{}: {why}", file::shown(&config.model));
        let (network, window) = classifier(&onnx).map_err(named)?;
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            network,
            window,
            config: config.clone(),
            refractory: samples(refractory_ms).div_ceil(CHUNK),
            streak: 0,
            rest: 0,
        })
    }

    /// Looks at the end of these features, which are at least as many as its window; returns the word if it was just
    /// said.
    pub(super) fn hear(&mut self, features: &[f32]) -> Option<Spotted> {
        self.rest = self.rest.saturating_sub(1);
        let unseen = features.len() - self.window * EMBEDDING;
        // It does not fail: it ran once when it was read.
        let score = *self.network.run(&features[unseen..]).ok()?.first()?;
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

/// A model that tells whether one word was said, and the number of embeddings it looks at.
///
/// # Errors
/// Why it is no such model.
fn classifier(onnx: &[u8]) -> Result<(Network, usize), String> {
    let draft = Draft::read(onnx)?;
    let window = match draft.input().as_deref() {
        Some([_, window, Some(EMBEDDING)]) => window.unwrap_or(USUAL_WINDOW),
        shape => {
            let shape = shape.map_or("several inputs".into(), written);
            return Err(format!(
                "it looks at {shape}, where a model in openWakeWord's format looks at 1 x N x {EMBEDDING} numbers"
            ));
        }
    };
    if !(1..=LONGEST_WINDOW).contains(&window) {
        return Err(format!(
            "it looks at {window} embeddings, one every 80 ms, where 1 to {LONGEST_WINDOW} are possible"
        ));
    }
    let several = |count| {
        format!(
            "it tells {count} words apart, and a model for one word is needed: export a model for each, with one \
             output that is a single score"
        )
    };
    let outputs = draft.outputs();
    if outputs != 1 {
        return Err(several(outputs));
    }
    let network = draft.ready(&[1, window, EMBEDDING])?;
    match network.outputs {
        1 => Ok((network, window)),
        count => Err(several(count)),
    }
}

/// A shape as people write it.
fn written(shape: &[Option<usize>]) -> String {
    let written = |dimension: &Option<usize>| dimension.map_or("N".into(), |it| it.to_string());
    let shape: Vec<String> = shape.iter().map(written).collect();
    format!("{} numbers", shape.join(" x "))
}
