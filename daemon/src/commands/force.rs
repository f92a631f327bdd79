//! The catalogue in force, as the model gets it: declarations before the conversation, and a grammar for the answer.

use super::Catalogue;
use crate::config;
use crate::engine::{self, Form, Preamble, Question, Request, Sampling};

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
    /// Forms of answers by [`Scope`].
    forms: [Form; 3],
}

impl Force {
    pub(super) fn new(catalogue: Catalogue, config: &config::Commands) -> Self {
        let tools = if config.declare {
            catalogue.declarations()
        } else {
            Vec::new()
        };
        let (answering, nothing) = (catalogue.answering(), Catalogue::default());
        let forms = [&catalogue, &answering, &nothing].map(|it| Form::Lark(it.grammar().into()));
        Self {
            preamble: Preamble {
                tools: tools.into(),
                ..config.system.as_str().into()
            },
            answering,
            nothing,
            catalogue,
            forms,
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

    /// The form of an answer.
    #[must_use]
    pub fn form(&self, scope: Scope) -> &Form {
        &self.forms[scope as usize]
    }

    /// The same request, whose answer may now call every command, with greedy sampling.
    #[must_use]
    pub fn asking(&self, request: Request) -> Request {
        let Preamble { history, now, .. } = request.preamble;
        Request {
            preamble: Preamble {
                history,
                now,
                ..self.preamble.clone()
            },
            sampling: Sampling::greedy(),
            form: Some(self.form(Scope::All).clone()),
            ..request
        }
    }

    /// A request to interpret a question, with greedy sampling, whose answer may call the commands of this scope.
    #[must_use]
    pub fn request(&self, config: &config::Answer, question: Question, scope: Scope) -> Request {
        let preamble = Preamble {
            now: engine::now(config),
            ..self.preamble.clone()
        };
        Request {
            preamble,
            sampling: Sampling::greedy(),
            form: Some(self.form(scope).clone()),
            ..Request::new(config, question)
        }
    }
}
