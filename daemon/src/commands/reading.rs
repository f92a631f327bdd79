//! The outcome of an utterance or a request.

use super::invocation::Invocation;

/// The outcome of an utterance or a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Commands.
    Commands {
        /// The commands with their status, in the order they were carried out.
        invocations: Vec<Invocation>,
        /// The model's words about their results; may be empty.
        words: String,
    },
    /// An argument is missing: this question is asked.
    Question(String),
    /// No command: the model's answer.
    Words(String),
}
