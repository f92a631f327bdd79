//! What the engine is doing.

use std::sync::Arc;

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
    pub(super) grammars: Arc<Grammars>,
    /// Maximum rows of a question, prompt and answer together.
    pub(super) capacity: usize,
}

impl Ready {
    /// The grammar of this form, compiled unless that was done already.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when it cannot be followed.
    pub(super) fn grammar(&self, form: Option<&Form>) -> Result<Option<Grammar>, EngineError> {
        form.map(|form| self.grammars.compile(form)).transpose()
    }

    /// The model's name as its file gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Whether the model understands sound.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.model.encoder().is_ok()
    }
}
