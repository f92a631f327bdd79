//! The model's vocabulary as llguidance sees it.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::engine::EngineError;
use crate::engine::llama::model::{Model, Token};

/// A model's vocabulary, sorted.
pub(super) struct Vocabulary {
    model: Arc<Model>,
    trie: TokTrie,
}

impl Vocabulary {
    /// Sorts the vocabulary of `model`.
    ///
    /// # Errors
    /// When no token ends a turn.
    pub(super) fn new(model: &Arc<Model>) -> Result<Self, EngineError> {
        let ends: Vec<_> = model.ends().iter().map(|it| it.cast_unsigned()).collect();
        let Some(end) = ends.first() else {
            return Err(EngineError::Grammar(
                "the model has no token that ends its turn".into(),
            ));
        };
        let size = u32::try_from(model.vocabulary()).unwrap_or(0);
        let words: Vec<_> = (0..size)
            .map(|token| word(model, token.cast_signed()))
            .collect();
        let info = TokRxInfo::new(size, *end);
        Ok(Self {
            model: Arc::clone(model),
            trie: TokTrie::from(&info, &words).with_eos_tokens(&ends),
        })
    }
}

/// A vocabulary of single bytes and the tokens `protocol`, of which the last ends a turn.
pub(super) fn of_bytes(protocol: &[&str]) -> TokEnv {
    let bytes = (0..TokTrie::SPECIAL_TOKEN_MARKER).map(|byte| vec![byte]);
    let protocol = protocol.iter().map(|name| marked(name.as_bytes()));
    let words: Vec<_> = bytes.chain(protocol).collect();
    let size = u32::try_from(words.len()).unwrap_or(0);
    let trie = TokTrie::from(&TokRxInfo::new(size, size - 1), &words);
    Arc::new(ApproximateTokEnv::new(trie))
}

/// The bytes of a token: its text, or for a protocol token a byte that no text has and then its name.
fn word(model: &Model, token: Token) -> Vec<u8> {
    if let Some(name) = model.protocol(token) {
        return marked(&name);
    }
    match model.bytes(token) {
        bytes if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        bytes => bytes,
    }
}

/// The bytes of a protocol token with this name. They differ from any text that looks like it.
fn marked(name: &[u8]) -> Vec<u8> {
    [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat()
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<u32> {
        let tokens = match std::str::from_utf8(text) {
            Ok(text) => self.model.tokenise_said(text),
            // Part of a character, which the tokeniser cannot read: it becomes tokens of its bytes.
            Err(_) => return self.trie.greedy_tokenize(text),
        };
        tokens.into_iter().map(i32::cast_unsigned).collect()
    }
}
