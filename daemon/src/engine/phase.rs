//! What the engine is doing.

use std::sync::{Arc, OnceLock};

use super::error::EngineError;
use super::grammar::Grammars;
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
    /// The model's name as its file gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Whether the model understands sound.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.model.encoder().is_some()
    }
}
