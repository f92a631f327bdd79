//! Why an answer of the model is not valid.

use gemmad_text as text;

use super::call::Malformed;

/// Most characters of an answer, or of a part of it, that a message quotes.
const MOST_QUOTED: usize = 60;

/// Why an answer is not valid, so that nothing may be carried out. Its text repeats nothing of the speech or of the
/// model's answer; that of [`Unfit::in_full`] does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not in the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no such command.
    #[error("there is no such command")]
    UnknownCommand(String),
    /// The command has no such parameter.
    #[error("there is no such parameter")]
    UnknownParameter(String),
    /// A value is of another type, or out of range.
    #[error("{parameter} must be {range}")]
    Value {
        /// The parameter.
        parameter: String,
        /// The value, as JSON.
        value: String,
        /// What fits.
        range: String,
    },
    /// A required parameter is missing.
    #[error("{parameter} is missing")]
    Missing {
        /// The parameter.
        parameter: String,
        /// The parameter's question, if it has one.
        ask: Option<String>,
    },
}

impl Unfit {
    /// The error with the name or the value that does not fit, for the author of the catalogue.
    #[must_use]
    pub fn in_full(&self) -> String {
        let shown = |text: &str| text::line(text, MOST_QUOTED).into_owned();
        match self {
            Self::UnknownCommand(name) => format!("there is no command {}", shown(name)),
            Self::UnknownParameter(name) => format!("there is no parameter {}", shown(name)),
            Self::Value { value, .. } => format!("{self}, not {}", shown(value)),
            Self::Malformed(_) | Self::Missing { .. } => self.to_string(),
        }
    }

    /// The same with the beginning of the answer, for a journal that records the content of conversations.
    #[must_use]
    pub fn about(&self, answer: &str) -> String {
        let written = text::line(answer, MOST_QUOTED);
        format!("{}; the model wrote {written}", self.in_full())
    }
}
