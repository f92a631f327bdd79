//! The chat template found in the model file: a conversation in, pieces of prompt out.
//!
//! Templates are Jinja with Python habits ([`super::jinja`]). Texts of people and tools never go through the template
//! ([`super::mark`]). What templates disagree about is found out when one is loaded ([`super::probe`]).

use super::conversation::Conversation;
use super::jinja::{self, Clock};
use super::manner::Manner;
use super::mark::Piece;
use super::probe;
use super::writer::Writer;
use crate::engine::EngineError;

/// A compiled chat template.
#[derive(Debug)]
pub(in crate::engine) struct Template {
    writer: Writer,
    manner: Manner,
}

impl Template {
    /// Compiles and tries `source`; `bos` and `eos` are the texts of those tokens.
    ///
    /// # Errors
    /// When it is not valid Jinja, needs what is not there, refuses a question, or leaves out what the person says.
    pub(in crate::engine) fn new(
        source: &str,
        bos: String,
        eos: String,
    ) -> Result<Self, EngineError> {
        Self::with_clock(source, bos, eos, jinja::now)
    }

    fn with_clock(
        source: &str,
        bos: String,
        eos: String,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        let writer = Writer::new(source, bos, eos, clock)?;
        let manner = probe::manner(&writer)?;
        Ok(Self { writer, manner })
    }

    /// Renders a conversation up to where the model goes on: the opening of its turn, or the results of its calls.
    ///
    /// # Errors
    /// When the template refuses the conversation, or leaves out a text or the tools of it.
    pub(in crate::engine) fn render(
        &self,
        conversation: &Conversation<'_>,
    ) -> Result<Vec<Piece>, EngineError> {
        if !conversation.tools.is_empty() && !self.manner.tools {
            return Err(EngineError::NoTools);
        }
        let written = self.writer.write(conversation, self.manner)?;
        if !written.is_whole {
            let why = "it leaves out a part of the conversation";
            return Err(EngineError::Template(why.into()));
        }
        Ok(written.pieces)
    }
}

#[cfg(test)]
mod equality;
#[cfg(test)]
mod tests;
