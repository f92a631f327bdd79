//! The sizes of Gemma, and their files.

use std::path::{Path, PathBuf};

/// A size of Gemma.
pub struct Gemma {
    /// Its name in the names of the files.
    pub name: &'static str,
    /// The name that people know.
    pub title: &'static str,
    /// What tells its structure from that of the others.
    pub structure: &'static str,
    /// Whether it understands sound.
    pub hears: bool,
    /// Whether its projector has a vision encoder, which gemmad does not use.
    pub sees: bool,
    /// Whether it can be given commands.
    pub calls: bool,
}

impl Gemma {
    /// The prompt of a question, as the template in its file writes it.
    pub fn prompt(&self, said: &str) -> String {
        if self.calls {
            format!("<bos><|turn>user\n{said}<turn|>\n<|turn>model\n<|channel>thought\n<channel|>")
        } else {
            format!("<bos><start_of_turn>user\n{said}<end_of_turn>\n<start_of_turn>model\n")
        }
    }
}

/// Every size, as `models/shape/sizes.py` writes them.
pub const SIZES: [Gemma; 7] = [
    Gemma {
        name: "e2b",
        title: "Gemma 4 E2B",
        structure: "layers that share KV, embeddings for each layer; a conformer for sound",
        hears: true,
        sees: true,
        calls: true,
    },
    Gemma {
        name: "e4b",
        title: "Gemma 4 E4B",
        structure: "as E2B, with two KV heads",
        hears: true,
        sees: true,
        calls: true,
    },
    Gemma {
        name: "12b",
        title: "Gemma 4 12B",
        structure: "keys that are values in full layers; sound without an encoder",
        hears: true,
        sees: true,
        calls: true,
    },
    Gemma {
        name: "26b-a4b",
        title: "Gemma 4 26B-A4B",
        structure: "as 12B, with experts beside the dense network",
        hears: false,
        sees: true,
        calls: true,
    },
    Gemma {
        name: "31b",
        title: "Gemma 4 31B",
        structure: "as 12B",
        hears: false,
        sees: true,
        calls: true,
    },
    Gemma {
        name: "gemma3n",
        title: "Gemma 3n",
        structure: "layers that share KV, several versions of the hidden state",
        hears: false,
        sees: false,
        calls: false,
    },
    Gemma {
        name: "gemma3",
        title: "Gemma 3",
        structure: "window layers and full ones",
        hears: false,
        sees: false,
        calls: false,
    },
];

/// Every quantisation of the text models, as `models/shape/quantisation.py` has them.
pub const QUANTISATIONS: [&str; 14] = [
    "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "q4_0", "iq4_nl",
    "iq4_xs", "q3_k_m", "q2_k",
];

/// How the projectors are stored.
pub const PROJECTORS: [&str; 2] = ["bf16", "f16"];

/// The files of a model.
#[derive(Debug, Clone)]
pub struct Files {
    /// The text model, or its first part.
    pub text: PathBuf,
    /// The projector; empty if there is none.
    pub mmproj: PathBuf,
}

impl Files {
    /// A text model alone.
    pub fn of(gemma: &Gemma, quantisation: &str) -> Self {
        Self::named(&format!("{}-{quantisation}.gguf", gemma.name))
    }

    /// A text model that is cut into three files.
    pub fn cut(gemma: &Gemma) -> Self {
        Self::named(&format!("{}-q4_0-00001-of-00003.gguf", gemma.name))
    }

    /// The same with its projector.
    pub fn with(&self, gemma: &Gemma, projector: &str) -> Self {
        let name = format!("{}-{projector}.mmproj.gguf", gemma.name);
        Self {
            text: self.text.clone(),
            mmproj: folder().join(name),
        }
    }

    fn named(text: &str) -> Self {
        Self {
            text: folder().join(text),
            mmproj: PathBuf::new(),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/shape/sizes")
}
