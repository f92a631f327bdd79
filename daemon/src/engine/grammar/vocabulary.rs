//! The model's vocabulary as llguidance sees it.

use std::sync::{Arc, OnceLock};

use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use crate::engine::EngineError;
use crate::engine::llama::foreseen::{self, Word};
use crate::engine::llama::gguf::Header;
use crate::engine::llama::model::Model;

/// A model's vocabulary, sorted.
pub(super) struct Vocabulary {
    /// Without the tokens that end a turn.
    sorted: TokTrie,
    known: OnceLock<Known>,
}

/// What only the loaded model knows.
struct Known {
    model: Arc<Model>,
    /// With the tokens that end a turn.
    trie: TokTrie,
}

impl Vocabulary {
    /// Sorts the vocabulary that the header of a model's file describes. [`Self::complete`] makes it that of the model.
    pub(super) fn foreseen(header: &Header) -> Self {
        let words = foreseen::words(header).into_iter().map(spelled);
        Self::of(&words.collect::<Vec<_>>())
    }

    /// Sorts the vocabulary of `model`.
    pub(super) fn of_model(model: &Model) -> Self {
        let words = tokens(model).map(|token| word(model, token));
        Self::of(&words.collect::<Vec<_>>())
    }

    fn of(words: &[Vec<u8>]) -> Self {
        let size = u32::try_from(words.len()).unwrap_or(0);
        Self {
            sorted: TokTrie::from(&TokRxInfo::new(size, 0), words),
            known: OnceLock::new(),
        }
    }

    /// Whether these are the tokens of `model`, each of them.
    pub(super) fn is_of(&self, model: &Model) -> bool {
        self.sorted.vocab_size() == model.vocabulary()
            && tokens(model).all(|token| self.sorted.token(token) == word(model, token))
    }

    /// Notes what only `model` knows of its vocabulary, which this is.
    ///
    /// # Errors
    /// When no token ends a turn.
    pub(super) fn complete(&self, model: &Arc<Model>) -> Result<(), EngineError> {
        let ends: Vec<_> = model.ends().iter().map(|it| it.cast_unsigned()).collect();
        if ends.is_empty() {
            return Err(EngineError::Grammar(
                "the model has no token that ends its turn".into(),
            ));
        }
        self.known.get_or_init(|| Known {
            model: Arc::clone(model),
            trie: self.sorted.with_eos_tokens(&ends),
        });
        Ok(())
    }
}

fn tokens(model: &Model) -> impl Iterator<Item = TokenId> {
    0..u32::try_from(model.vocabulary()).unwrap_or(0)
}

/// A vocabulary of single bytes and the tokens `protocol`, of which the last ends a turn.
pub(super) fn of_bytes(protocol: &[&str]) -> TokEnv {
    let bytes = (0..TokTrie::SPECIAL_TOKEN_MARKER).map(|byte| vec![byte]);
    let protocol = protocol.iter().map(|name| Word::Protocol((*name).into()));
    let words: Vec<_> = bytes.chain(protocol.map(spelled)).collect();
    let size = u32::try_from(words.len()).unwrap_or(0);
    let trie = TokTrie::from(&TokRxInfo::new(size, size - 1), &words);
    Arc::new(ApproximateTokEnv::new(trie))
}

fn word(model: &Model, token: TokenId) -> Vec<u8> {
    let token = token.cast_signed();
    let protocol = model.protocol(token).map(Word::Protocol);
    spelled(protocol.unwrap_or_else(|| Word::Text(model.bytes(token))))
}

/// The bytes of a token: its text, or for a protocol token a byte that no text has and then its name. So they differ from any
/// text that looks like it.
fn spelled(word: Word) -> Vec<u8> {
    match word {
        Word::Protocol(name) => [&[TokTrie::SPECIAL_TOKEN_MARKER], &*name].concat(),
        Word::Text(bytes) if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        Word::Text(bytes) => bytes,
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        self.known.get().map_or(&self.sorted, |known| &known.trie)
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<u32> {
        let known = self.known.get().zip(str::from_utf8(text).ok());
        let Some((known, text)) = known else {
            // Part of a character, which the tokeniser cannot read: it becomes tokens of its bytes.
            return self.sorted.greedy_tokenize(text);
        };
        let tokens = known.model.tokenise_said(text);
        tokens.into_iter().map(i32::cast_unsigned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config;
    use crate::engine::ggml::threads::Threads;
    use crate::engine::llama::gguf::Kind;

    /// The model in a file of this repository, and its vocabulary as the header foretells it.
    fn both(path: &str) -> (Model, Vocabulary) {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let header = Header::open(&text, Kind::Text).unwrap();
        let config = config::Model {
            text,
            mmproj: PathBuf::new(),
            ..config::Model::default()
        };
        let model = Model::open(&config, &Threads::of(1)).unwrap();
        (model, Vocabulary::foreseen(&header))
    }

    #[test]
    fn the_tokens_of_a_model_are_known_before_it_is_loaded() {
        let (model, foreseen) = both("models/nano/nano-f16.gguf");
        assert!(foreseen.is_of(&model));
        let mut words: Vec<_> = tokens(&model).map(|token| word(&model, token)).collect();
        assert!(Vocabulary::of(&words).is_of(&model));
        words.swap(600, 601);
        assert!(!Vocabulary::of(&words).is_of(&model));
        words.pop();
        assert!(!Vocabulary::of(&words).is_of(&model));
    }

    #[test]
    #[ignore = "needs Gemma's vocabulary"]
    fn the_tokens_over_gemmas_vocabulary_are_known_before_it_is_loaded() {
        let (model, foreseen) = both("target/shape/tiny-gemma-q4_0.gguf");
        assert!(foreseen.is_of(&model));
    }
}
