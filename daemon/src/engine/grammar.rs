//! Holding an answer to a form: a grammar or a JSON Schema.
//!
//! llguidance says which tokens may come next, and which have to. What has to come is not drawn: it is
//! read, all at once, like a prompt. Tokens that are protocol (`<|tool_call>`, `<turn|>`) are none of the
//! text that looks like them, so only a grammar that names such a token can have it written.

use std::fmt;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::EngineError;
use super::model::{Model, Token};

/// Longest grammar or schema, in bytes.
const LONGEST: usize = 1 << 18;

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// What this grammar derives, in llguidance's dialect of Lark. `<name>` is the token of that name.
    Lark(String),
    /// A JSON value that this JSON Schema describes, on one line.
    Json(Value),
}

/// A form, compiled for the vocabulary of the loaded model. Clones are the same one.
#[derive(Clone)]
pub struct Grammar(Arc<Matcher>);

impl Grammar {
    /// Its beginning.
    pub(super) fn guide(&self) -> Guide {
        Guide((*self.0).clone())
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grammar")
    }
}

/// Compiles forms for one vocabulary.
pub(super) struct Grammars(ParserFactory);

impl Grammars {
    /// Sorts the vocabulary of `model`.
    ///
    /// # Errors
    /// When the model has no token that ends a turn.
    pub(super) fn new(model: &Arc<Model>) -> Result<Self, EngineError> {
        let vocabulary: TokEnv = Arc::new(Vocabulary::new(model)?);
        let mut factory = ParserFactory::new_simple(&vocabulary).map_err(|why| unusable(&why))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self(factory))
    }

    /// Compiles `form`.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] when it makes no sense, nothing fits it, or it is too complex.
    pub(super) fn compile(&self, form: &Form) -> Result<Grammar, EngineError> {
        let grammar = match form {
            Form::Lark(text) => {
                check_length(text.len())?;
                TopLevelGrammar::from_lark(text.clone())
            }
            Form::Json(schema) => TopLevelGrammar::from_json_schema(json_options(schema)?),
        };
        let mut matcher = Matcher::new(self.0.create_parser(grammar));
        if let Some(why) = matcher.get_error() {
            return Err(unusable(&why));
        }
        // Whether there is any answer at all is seen at the first token.
        let mut guide = Guide(matcher.clone());
        guide.forced()?;
        if !guide.is_over() {
            guide.allowed()?;
        }
        if let Some(warning) = matcher.grammar_warnings().first() {
            return Err(unusable(warning));
        }
        Ok(Grammar(Arc::new(matcher)))
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grammars")
    }
}

/// The schema with our options for its compiler, whatever it says of them itself: they could let through
/// what does not validate. Separators are those most JSON on one line has, so nothing has to be drawn there.
fn json_options(schema: &Value) -> Result<Value, EngineError> {
    check_length(schema.to_string().len())?;
    let mut schema = schema.clone();
    let Value::Object(keys) = &mut schema else {
        return Err(unusable(&"a JSON Schema is an object"));
    };
    let options = json!({
        "whitespace_flexible": false,
        "item_separator": ", ",
        "key_separator": ": ",
    });
    keys.insert("x-guidance".into(), options);
    Ok(schema)
}

fn check_length(bytes: usize) -> Result<(), EngineError> {
    if bytes > LONGEST {
        return Err(unusable(&format_args!(
            "it has {bytes} bytes, but at most {LONGEST} are looked at"
        )));
    }
    Ok(())
}

/// The first line is the reason; what follows is the inside of the compiler.
fn unusable(why: &dyn fmt::Display) -> EngineError {
    let why = why.to_string();
    EngineError::Grammar(why.lines().next().unwrap_or_default().to_owned())
}

/// Where an answer is in its grammar.
pub(super) struct Guide(Matcher);

impl Guide {
    /// The tokens that have to come now, as if they had been written.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(super) fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let forced = self.0.compute_ff_tokens();
        self.0
            .consume_tokens(&forced)
            .map_err(|why| unusable(&why))?;
        Ok(forced.into_iter().map(u32::cast_signed).collect())
    }

    /// The tokens of which one must come now, when none has to.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(super) fn allowed(&mut self) -> Result<Allowed, EngineError> {
        let mask = self.0.compute_mask().map_err(|why| unusable(&why))?;
        Ok(Allowed(mask))
    }

    /// Goes on after `token`; returns the tokens that have to come after it.
    ///
    /// # Errors
    /// When `token` was not allowed, or the grammar has become too complex.
    pub(super) fn follow(&mut self, token: Token) -> Result<Vec<Token>, EngineError> {
        self.0
            .consume_token(token.cast_unsigned())
            .map_err(|why| unusable(&why))?;
        self.forced()
    }

    /// Whether nothing can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_stopped()
    }

    /// Whether the answer may end here.
    pub(super) fn may_end(&mut self) -> bool {
        self.is_over() || self.0.is_accepting().unwrap_or(false)
    }
}

impl fmt::Debug for Guide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guide")
    }
}

/// A set of tokens that is not empty.
pub(super) struct Allowed(SimpleVob);

impl Allowed {
    pub(super) fn holds(&self, token: Token) -> bool {
        self.0.is_allowed(token.cast_unsigned())
    }

    pub(super) fn first(&self) -> Token {
        let first = self.0.first_bit_set().unwrap_or(0);
        Token::try_from(first).unwrap_or(0)
    }
}

/// The model's vocabulary as llguidance sees it.
struct Vocabulary {
    model: Arc<Model>,
    trie: TokTrie,
}

impl Vocabulary {
    fn new(model: &Arc<Model>) -> Result<Self, EngineError> {
        let ends: Vec<_> = model.ends().iter().map(|it| it.cast_unsigned()).collect();
        let Some(end) = ends.first() else {
            return Err(unusable(&"the model has no token that ends its turn"));
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

/// What a token stands for: its text, or if it is protocol its name after a byte that no text has.
fn word(model: &Model, token: Token) -> Vec<u8> {
    if let Some(name) = model.protocol(token) {
        let mut marked = vec![TokTrie::SPECIAL_TOKEN_MARKER];
        marked.extend(name);
        return marked;
    }
    match model.bytes(token) {
        bytes if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        bytes => bytes,
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<u32> {
        let tokens = match std::str::from_utf8(text) {
            Ok(text) => self.model.tokenise_said(text),
            // A part of a character; the tokens of its bytes are all there is.
            Err(_) => return self.trie.greedy_tokenize(text),
        };
        tokens.into_iter().map(i32::cast_unsigned).collect()
    }
}
