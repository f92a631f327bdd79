//! What the engine is doing.

use std::sync::{Arc, OnceLock};

use super::error::EngineError;
use super::grammar::{Form, Grammar, Grammars};
use crate::engine::llama::model::Model;

/// What the engine is doing.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Nothing is loaded yet.
    Starting,
    /// The model is being loaded; progress in percent.
    Loading(u8),
    /// Requests are answered.
    Ready(Ready),
    /// Loading failed, for this reason; every request fails with it.
    Failed(String),
}

/// A loaded model, ready for requests.
#[derive(Debug, Clone)]
pub struct Ready {
    pub(super) model: Arc<Model>,
    /// Made for the first grammar: with Gemma's vocabulary that takes time and memory.
    pub(super) grammars: Arc<OnceLock<Result<Grammars, EngineError>>>,
    /// Maximum rows of a question, prompt and answer together.
    pub(super) capacity: usize,
}

impl Ready {
    /// The grammar of this form, compiled unless that was done already.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when it cannot be followed, [`EngineError::NoTools`] when the
    /// vocabulary lacks the tokens of calls, which a grammar that is no schema is for.
    pub(super) fn grammar(&self, form: Option<&Form>) -> Result<Option<Grammar>, EngineError> {
        let Some(form) = form else {
            return Ok(None);
        };
        if matches!(form, Form::Lark(_)) && !self.model.calls_tools() {
            return Err(EngineError::NoTools);
        }
        let grammars = self.grammars.get_or_init(|| Grammars::new(&self.model));
        let grammars = grammars.as_ref().map_err(Clone::clone)?;
        grammars.compile(form).map(Some)
    }

    /// The model's name as its file gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Why the model hears nothing; `None` if it hears.
    #[must_use]
    pub fn deaf(&self) -> Option<String> {
        match self.model.encoder() {
            Err(EngineError::Deaf(why)) => Some(why),
            _ => None,
        }
    }

    /// Whether the model understands sound.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.model.encoder().is_ok()
    }
}
