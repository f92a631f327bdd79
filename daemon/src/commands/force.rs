//! The catalogue in force, as the model gets it: declarations before the conversation, and a grammar.

use std::time::Instant;

use tokio::sync::OnceCell;

use super::Catalogue;
use crate::config;
use crate::engine::{Engine, EngineError, Form, Grammar, Preamble, Request, Sampling};

/// A catalogue in force.
#[derive(Debug)]
pub struct Force {
    /// What may be asked for.
    pub catalogue: Catalogue,
    /// What the model is told before somebody speaks.
    pub preamble: Preamble,
    grammar: OnceCell<Grammar>,
}

impl Force {
    pub(super) fn new(catalogue: Catalogue, config: &config::Commands) -> Self {
        let tools = if config.declare {
            catalogue.declarations()
        } else {
            Vec::new()
        };
        Self {
            preamble: Preamble {
                system: config.system.clone(),
                tools: tools.into(),
            },
            catalogue,
            grammar: OnceCell::new(),
        }
    }

    /// What an answer is held to. While the model is loading this waits.
    ///
    /// # Errors
    /// When there is no model, or the catalogue is too large for a grammar.
    pub async fn grammar(&self, engine: &Engine) -> Result<Grammar, EngineError> {
        let compile = || engine.grammar(Form::Lark(self.catalogue.grammar()));
        self.grammar.get_or_try_init(compile).await.cloned()
    }

    /// Asks what is to be done about `text`: always for what is likeliest.
    pub(super) async fn request(
        &self,
        engine: &Engine,
        config: &config::Answer,
        text: String,
    ) -> Result<Request, EngineError> {
        Ok(Request {
            preamble: self.preamble.clone(),
            sampling: Sampling::greedy(),
            grammar: Some(self.grammar(engine).await?),
            ..Request::question(config, text)
        })
    }

    /// Asks what is to be done about speech whose last sample was heard then.
    #[must_use]
    pub fn reply(&self, config: &config::Answer, grammar: Grammar, at: Instant) -> Request {
        Request {
            preamble: self.preamble.clone(),
            sampling: Sampling::greedy(),
            grammar: Some(grammar),
            ..Request::reply(config).heard(at)
        }
    }
}
