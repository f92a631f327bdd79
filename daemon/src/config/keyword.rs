//! Words that are known without the language model: the keys of `[keyword]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Bounded, Fraction};

/// `[keyword]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keyword {
    /// What is waited for.
    pub words: Vec<Word>,
    /// For how long a word that was spotted is not spotted again.
    pub refractory_ms: Bounded<0, 60_000>,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Word {
    /// Its model, a file in openWakeWord's format. A relative path starts at the configuration file's folder.
    pub model: PathBuf,
    /// What it is for.
    pub means: Meaning,
    /// Score of the model from which the word counts as said.
    pub threshold: Fraction,
    /// How many scores in a row must be that high; there is one every 80 ms.
    pub patience: Bounded<1, 25>,
}

/// What a word is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// In mode `wake`: what follows is for the assistant.
    #[default]
    Wake,
    /// All that is under way ends, at once.
    Halt,
}

impl Default for Keyword {
    fn default() -> Self {
        Self {
            words: vec![Word::default()],
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
