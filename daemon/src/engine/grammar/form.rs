//! Forms that answers must have, and the position of an answer in its form.

use std::fmt;
use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;
use serde_json::Value;

use super::schema::{self, SchemaError};
use crate::engine::error::EngineError;
use crate::engine::llama::model::Token;

/// The form that an answer must have. Each engine compiles it for its own vocabulary. Clones share it.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// A text of this grammar, in llguidance's dialect of Lark. `<name>` is the token of that name.
    Lark(Arc<str>),
    /// A JSON value that this JSON Schema describes, on one line.
    Json(Arc<Value>),
}

impl Form {
    /// The JSON Schema that a client wrote.
    ///
    /// # Errors
    /// [`EngineError::Schema`] when it is longer than [`LONGEST_SCHEMA`](crate::engine::LONGEST_SCHEMA) or no JSON.
    pub fn schema(text: &str) -> Result<Self, EngineError> {
        Ok(Self::Json(Arc::new(schema::read(text)?)))
    }
}

/// A form, compiled for the vocabulary of the loaded model. Clones share it.
#[derive(Clone)]
pub(in crate::engine) struct Grammar {
    pub(super) matcher: Arc<Matcher>,
    pub(super) of_schema: bool,
}

impl Grammar {
    /// A guide at the beginning of an answer.
    pub(in crate::engine) fn guide(&self) -> Guide {
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

/// The position of an answer in its grammar.
pub(in crate::engine) struct Guide {
    matcher: Matcher,
    /// Whether the grammar was made of a client's schema.
    of_schema: bool,
}

impl Guide {
    /// The tokens that must come next. The guide moves past them.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(in crate::engine) fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let forced = self.matcher.compute_ff_tokens();
        let consumed = self.matcher.consume_tokens(&forced);
        consumed.map_err(|why| self.lost(&why))?;
        Ok(forced.into_iter().map(u32::cast_signed).collect())
    }

    /// The tokens of which one must come next, when none is forced.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(in crate::engine) fn allowed(&mut self) -> Result<Allowed, EngineError> {
        let mask = self.matcher.compute_mask();
        mask.map(Allowed).map_err(|why| self.lost(&why))
    }

    /// Moves past `token` and the tokens that must come after it; returns the latter.
    ///
    /// # Errors
    /// When `token` was not allowed, or the grammar has become too complex.
    pub(in crate::engine) fn follow(&mut self, token: Token) -> Result<Vec<Token>, EngineError> {
        let consumed = self.matcher.consume_token(token.cast_unsigned());
        consumed.map_err(|why| self.lost(&why))?;
        self.forced()
    }

    /// Whether no token can follow.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Whether the answer may end here.
    pub(in crate::engine) fn may_end(&mut self) -> bool {
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

/// The reason in a message of llguidance's: the first line. The parser's state follows it.
pub(super) fn first_line(why: &dyn fmt::Display) -> String {
    let why = why.to_string();
    why.lines().next().unwrap_or_default().to_owned()
}

impl fmt::Debug for Guide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guide")
    }
}

/// A non-empty set of tokens.
pub(in crate::engine) struct Allowed(SimpleVob);

impl Allowed {
    pub(in crate::engine) fn holds(&self, token: Token) -> bool {
        self.0.is_allowed(token.cast_unsigned())
    }

    /// Whether all of them are among `others`, none of which is there twice.
    pub(in crate::engine) fn is_within(&self, others: &[Token]) -> bool {
        let common = others.iter().filter(|it| self.holds(**it)).count();
        common > 0 && common == self.0.num_set()
    }
}
