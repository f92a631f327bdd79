//! Holding an answer to a form: a grammar or a JSON Schema.
//!
//! llguidance says which tokens may come next, and which have to. What has to come is not drawn: it is
//! read, all at once, like a prompt. Tokens that are protocol (`<|tool_call>`, `<turn|>`) are none of the
//! text that looks like them, so only a grammar that names such a token can have it written.
//!
//! | file | owns |
//! |---|---|
//! | here | a compiled form, and where an answer is in it |
//! | `schema` | what a JSON Schema may say, and the words for what it may not |
//! | `compiler` | forms to grammars, a few of them kept |
//! | `vocabulary` | tokens as the compiler sees them |

mod compiler;
mod schema;
mod vocabulary;

use std::fmt;
use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;
use serde_json::Value;

pub(super) use compiler::Grammars;
pub use schema::SchemaError;

use super::EngineError;
use super::model::Token;

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// What this grammar derives, in llguidance's dialect of Lark. `<name>` is the token of that name.
    Lark(String),
    /// A JSON value that this JSON Schema describes, on one line.
    Json(Value),
}

impl Form {
    /// The JSON Schema that a client wrote.
    ///
    /// # Errors
    /// [`EngineError::Schema`] when it is longer than [`LONGEST_SCHEMA`](super::LONGEST_SCHEMA) or no JSON.
    pub fn schema(text: &str) -> Result<Self, EngineError> {
        Ok(Self::Json(schema::read(text)?))
    }

    /// Compiles it as for a model, without one: for a vocabulary of single bytes and `protocol`, whose last token ends
    /// a turn. The limits of the compiler are the same.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when it makes no sense, nothing fits it, or it is too
    /// complex.
    pub fn check(&self, protocol: &[&str]) -> Result<(), EngineError> {
        let vocabulary = vocabulary::of_bytes(protocol);
        Grammars::over(&vocabulary)?.compile(self).map(drop)
    }
}

/// A form, compiled for the vocabulary of the loaded model. Clones are the same one.
#[derive(Clone)]
pub struct Grammar {
    matcher: Arc<Matcher>,
    of_schema: bool,
}

impl Grammar {
    /// Its beginning.
    pub(super) fn guide(&self) -> Guide {
        Guide {
            matcher: (*self.matcher).clone(),
            of_schema: self.of_schema,
        }
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grammar")
    }
}

/// Where an answer is in its grammar.
pub(super) struct Guide {
    matcher: Matcher,
    /// Whether the grammar was made of a client's schema.
    of_schema: bool,
}

impl Guide {
    /// The tokens that have to come now, as if they had been written.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(super) fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let forced = self.matcher.compute_ff_tokens();
        let consumed = self.matcher.consume_tokens(&forced);
        consumed.map_err(|why| self.lost(&why))?;
        Ok(forced.into_iter().map(u32::cast_signed).collect())
    }

    /// The tokens of which one must come now, when none has to.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(super) fn allowed(&mut self) -> Result<Allowed, EngineError> {
        let mask = self.matcher.compute_mask();
        mask.map(Allowed).map_err(|why| self.lost(&why))
    }

    /// Goes on after `token`; returns the tokens that have to come after it.
    ///
    /// # Errors
    /// When `token` was not allowed, or the grammar has become too complex.
    pub(super) fn follow(&mut self, token: Token) -> Result<Vec<Token>, EngineError> {
        let consumed = self.matcher.consume_token(token.cast_unsigned());
        consumed.map_err(|why| self.lost(&why))?;
        self.forced()
    }

    /// Whether nothing can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Whether the answer may end here.
    pub(super) fn may_end(&mut self) -> bool {
        self.is_over() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// The error for a grammar that cannot be followed further.
    fn lost(&self, why: &dyn fmt::Display) -> EngineError {
        log::debug!("a grammar was given up: {}", first_line(why));
        if self.of_schema {
            SchemaError::TooComplex.into()
        } else {
            EngineError::Grammar("it has become too complex".into())
        }
    }
}

/// What of a message of llguidance's is its reason; what follows is its state.
fn first_line(why: &dyn fmt::Display) -> String {
    let why = why.to_string();
    why.lines().next().unwrap_or_default().to_owned()
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
