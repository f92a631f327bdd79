//! The prompt of a request, as the model would read it.

use crate::engine::llama::model::{Model, Token};

/// A passage of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What it consists of.
    pub kind: PassageKind,
    /// Its text; empty for sound. The token `<|turn>` and the typed characters `<|turn>` have the same text, but not
    /// the same kind.
    pub text: String,
    /// Tokens, or soft tokens of sound.
    pub tokens: usize,
}

/// What a passage of a prompt consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassageKind {
    /// Tokens of text.
    Text,
    /// One token of the protocol, such as `<|turn>`.
    Control,
    /// Soft tokens of sound.
    Sound,
}

impl Passage {
    /// This many soft tokens.
    pub(in crate::engine) fn sound(tokens: usize) -> Self {
        Self {
            kind: PassageKind::Sound,
            text: String::new(),
            tokens,
        }
    }
}

/// The passages of these tokens. A character may be spread over several tokens, but not over two passages.
pub(in crate::engine) fn passages(model: &Model, tokens: &[Token]) -> Vec<Passage> {
    let told = |token: &Token| match model.protocol(*token) {
        Some(bytes) => (PassageKind::Control, bytes),
        None => (PassageKind::Text, model.bytes(*token)),
    };
    let told: Vec<_> = tokens.iter().map(told).collect();
    let runs = told.chunk_by(|one, next| [one.0, next.0] == [PassageKind::Text; 2]);
    let passage = |run: &[(PassageKind, Vec<u8>)]| {
        let bytes: Vec<u8> = run.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        Passage {
            // A run is never empty.
            kind: run[0].0,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            tokens: run.len(),
        }
    };
    runs.map(passage).collect()
}
