//! A known answer on its way through a grammar: which of its tokens a model would draw, and which are forced.

use std::time::{Duration, Instant};

use super::form::Grammar;
use crate::engine::EngineError;
use crate::engine::llama::model::{Model, Token};

/// What it costs to write an answer in its form.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    /// Tokens that the model draws, one after the other.
    pub drawn: u32,
    /// Tokens that the grammar forces, which the model reads like a prompt.
    pub forced: u32,
    /// For each token that is drawn, the time of the grammar: to know which may be, and what has to follow.
    pub steps: Vec<Duration>,
}

impl Rehearsal {
    /// Leads `answer` through `grammar`, as the engine does when `model` writes it: where nothing is forced, it draws
    /// the token that its tokeniser has there.
    ///
    /// # Errors
    /// When the grammar does not allow this answer, or becomes too complex.
    pub(in crate::engine) fn of(
        model: &Model,
        grammar: &Grammar,
        answer: &str,
    ) -> Result<Self, EngineError> {
        let other = || EngineError::Grammar("it forces another answer".into());
        let mut guide = grammar.guide();
        let mut rehearsal = Self::default();
        let mut rest = answer;
        let mut forced = guide.forced()?;
        loop {
            rehearsal.forced += u32::try_from(forced.len()).unwrap_or(u32::MAX);
            rest = after(model, rest, &forced).ok_or_else(other)?;
            if rest.is_empty() {
                return Ok(rehearsal);
            }
            let token = next(model, answer, rest).ok_or_else(other)?;
            let begun = Instant::now();
            if !guide.allowed()?.holds(token) {
                return Err(other());
            }
            forced = guide.follow(token, model.barred())?;
            rehearsal.steps.push(begun.elapsed());
            rehearsal.drawn += 1;
            rest = after(model, rest, &[token]).ok_or_else(other)?;
        }
    }
}

/// What follows after `tokens` in `text`; `None` if it does not begin with them.
fn after<'a>(model: &Model, text: &'a str, tokens: &[Token]) -> Option<&'a str> {
    let bytes: Vec<_> = tokens
        .iter()
        .flat_map(|token| model.bytes(*token))
        .collect();
    let begins = text.as_bytes().starts_with(&bytes);
    begins.then(|| text.get(bytes.len()..)).flatten()
}

/// The token with which the model goes on where `rest` of `answer` is left.
fn next(model: &Model, answer: &str, rest: &str) -> Option<Token> {
    let mut left = answer.len();
    for token in model.tokenise_template(answer) {
        if left == rest.len() {
            return Some(token);
        }
        left = left.saturating_sub(model.bytes(token).len());
    }
    // A token that was forced ends within one of the tokeniser's.
    model.tokenise_template(rest).first().copied()
}
