//! The catalogue in force, as the model gets it: declarations before the conversation, and grammars.

use tokio::sync::OnceCell;

use super::Catalogue;
use crate::config;
use crate::engine::{Engine, EngineError, Form, Grammar, Preamble, Request, Sampling};

/// What the model may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every command: it has heard only the person.
    All,
    /// Only commands that answer, because it has read what others wrote.
    Answering,
    /// None; it may only speak.
    Nothing,
}

/// A catalogue in force.
#[derive(Debug)]
pub struct Force {
    /// What may be asked for.
    pub catalogue: Catalogue,
    /// What the model is told before somebody speaks.
    pub preamble: Preamble,
    answering: Catalogue,
    nothing: Catalogue,
    /// By scope; compiled when first wanted.
    grammars: [OnceCell<Grammar>; 3],
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
            answering: catalogue.answering(),
            nothing: Catalogue::default(),
            catalogue,
            grammars: Default::default(),
        }
    }

    /// What the model may call in this scope.
    #[must_use]
    pub fn catalogue(&self, scope: Scope) -> &Catalogue {
        match scope {
            Scope::All => &self.catalogue,
            Scope::Answering => &self.answering,
            Scope::Nothing => &self.nothing,
        }
    }

    /// What an answer is held to. While the model is loading this waits.
    ///
    /// # Errors
    /// When there is no model, or the catalogue is too large for a grammar.
    pub async fn grammar(&self, engine: &Engine, scope: Scope) -> Result<Grammar, EngineError> {
        let compile = || engine.grammar(Form::Lark(self.catalogue(scope).grammar()));
        let grammar = &self.grammars[scope as usize];
        grammar.get_or_try_init(compile).await.cloned()
    }

    /// Asks what is to be done about `text`, or about speech if there is none: always for what is likeliest. Its
    /// grammar is to be added.
    #[must_use]
    pub fn question(&self, config: &config::Answer, text: String) -> Request {
        Request {
            preamble: self.preamble.clone(),
            sampling: Sampling::greedy(),
            ..Request::question(config, text)
        }
    }
}
