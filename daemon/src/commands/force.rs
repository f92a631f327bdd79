//! The catalogue in force, as the model gets it: declarations before the conversation, and a grammar for the answer.

use tokio::sync::OnceCell;

use super::Catalogue;
use crate::config;
use crate::engine::{Engine, EngineError, Form, Grammar, Preamble, Request, Sampling};

/// The commands that the model may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every command: the model has read only the person's words.
    All,
    /// Only commands that answer: the model has read a command's result, which a stranger may have written.
    Answering,
    /// None: the model may only write words.
    Nothing,
}

/// A catalogue in force.
#[derive(Debug)]
pub struct Force {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// The prompt's beginning: the system text and the declarations.
    pub preamble: Preamble,
    answering: Catalogue,
    nothing: Catalogue,
    /// Grammars by [`Scope`], each compiled on first use.
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

    /// The commands that the model may call in this scope.
    #[must_use]
    pub fn catalogue(&self, scope: Scope) -> &Catalogue {
        match scope {
            Scope::All => &self.catalogue,
            Scope::Answering => &self.answering,
            Scope::Nothing => &self.nothing,
        }
    }

    /// The grammar of an answer. Waits while the model is loading.
    ///
    /// # Errors
    /// When there is no model, or the catalogue is too large for a grammar.
    pub async fn grammar(&self, engine: &Engine, scope: Scope) -> Result<Grammar, EngineError> {
        let compile = || engine.grammar(Form::Lark(self.catalogue(scope).grammar()));
        let grammar = &self.grammars[scope as usize];
        grammar.get_or_try_init(compile).await.cloned()
    }

    /// A request to interpret `text`, or the speech if `text` is empty, with greedy sampling. The caller adds the
    /// grammar.
    #[must_use]
    pub fn question(&self, config: &config::Answer, text: String) -> Request {
        Request {
            preamble: self.preamble.clone(),
            sampling: Sampling::greedy(),
            ..Request::question(config, text)
        }
    }
}
