//! Words that are spotted without the language model: the keys of `[keyword]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Bounded, Fraction};

/// `[keyword]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keyword {
    /// The words to spot.
    pub words: Vec<Word>,
    /// Time after a word was spotted in which it is not spotted again, in ms.
    pub refractory_ms: Bounded<0, 60_000>,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Word {
    /// Its model, a file in openWakeWord's format. A relative path starts at the configuration file's folder.
    pub model: PathBuf,
    /// Its effect.
    pub means: Meaning,
    /// Lowest score of the model that counts as the word.
    pub threshold: Fraction,
    /// Consecutive scores that must reach `threshold`. There is one every 80 ms.
    pub patience: Bounded<1, 25>,
}

/// The effect of a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// In mode `wake`: the speech that follows is for the assistant.
    #[default]
    Wake,
    /// Halts everything under way, at once.
    Halt,
}

impl Default for Keyword {
    fn default() -> Self {
        Self {
            // With one score a television wakes it more than twice as often (models/keyword/README.md).
            words: vec![Word {
                patience: Bounded(2),
                ..Word::default()
            }],
            refractory_ms: Bounded(2000),
        }
    }
}

impl Default for Word {
    fn default() -> Self {
        Self {
            model: Path::new("/usr/share/gemmad/models/keyword").join("hey_gemma.onnx"),
            means: Meaning::Wake,
            threshold: Fraction(0.5),
            patience: Bounded(1),
        }
    }
}
