//! What the engine is doing.

use std::sync::{Arc, Weak};

use super::error::EngineError;
use super::grammar::{Form, Grammar, Grammars};
use super::probe::files::Files;
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
    /// The last requests to a model are being answered; then its memory is given back.
    Unloading,
    /// No model is in memory. The next request loads it.
    Unloaded,
}

/// A loaded model, ready for requests.
#[derive(Debug, Clone)]
pub struct Ready {
    pub(super) model: Arc<Model>,
    pub(super) grammars: Arc<Grammars>,
    /// Maximum rows of a question, prompt and answer together.
    pub(super) capacity: usize,
    /// The same of a question without sound, which may have a context of its own.
    pub(super) longest: usize,
    /// Its files, as they were when it was loaded.
    pub(super) files: Files,
    /// Bytes of memory that it takes, as predicted.
    pub(super) bytes: u64,
    /// Alive until the model is to go and nobody needs it any more.
    pub(super) stay: Weak<()>,
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
        self.grammars.compile(form).map(Some)
    }

    /// The model's name as its file gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Bytes of memory that the model takes, as predicted before it was loaded.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why the model hears nothing; `None` if it hears.
    #[must_use]
    pub fn deaf(&self) -> Option<String> {
        match self.model.encoder() {
            Err(EngineError::Deaf(why)) => Some(why),
            _ => None,
        }
    }

    /// Whether the model understands single questions alone, without what was said before.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.model.is_bare()
    }

    /// Whether the model understands sound.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.model.encoder().is_ok()
    }
}
