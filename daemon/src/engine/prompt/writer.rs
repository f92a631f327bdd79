//! A chat template at work: a conversation in, pieces of prompt out.

use minijinja::value::Serde;
use minijinja::{Value, context};

use super::conversation::Conversation;
use super::jinja::{Clock, Jinja};
use super::manner::Manner;
use super::mark::{Pieces, is_marked};
use crate::engine::EngineError;

/// What ends the result of a call, and what begins a call, in every Gemma 4 template.
const RESULT_END: &str = "<tool_response|>";
const CALL: &str = "<|tool_call>";

/// What opens a turn in all of them.
const TURN: &str = "<|turn>";

/// A compiled template, and the texts of tokens that it may ask for.
#[derive(Debug)]
pub(super) struct Writer {
    jinja: Jinja,
    bos: String,
    eos: String,
}

impl Writer {
    /// Compiles `source`; `bos` and `eos` are the texts of those tokens.
    ///
    /// # Errors
    /// When it is not valid Jinja, or needs what is not there.
    pub(super) fn new(
        source: &str,
        bos: String,
        eos: String,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        let jinja = Jinja::new(source, clock)?;
        Ok(Self { jinja, bos, eos })
    }

    /// The prompt of `conversation`, in pieces.
    ///
    /// # Errors
    /// When the template refuses the conversation, or writes too much.
    pub(super) fn write(
        &self,
        conversation: &Conversation<'_>,
        manner: Manner,
    ) -> Result<Pieces, EngineError> {
        let (messages, texts) = conversation.messages(manner);
        let tools = conversation.tools;
        let rendered = self.jinja.render(context! {
            messages,
            tools => (!tools.is_empty()).then(|| Value::from(Serde(tools))),
            add_generation_prompt => true,
            enable_thinking => conversation.thinking,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        })?;
        let mut turns = conversation.messages.iter();
        if turns.any(|turn| turn.called.len() > 1) {
            return texts.put_back(&in_one_turn(&rendered));
        }
        texts.put_back(&rendered)
    }
}

/// The prompt without what a template writes between the results of one round and the calls of the next: to the model
/// these are one turn, and the older generation of Gemma 4's templates opens another.
fn in_one_turn(rendered: &str) -> String {
    let mut ends = rendered.split_inclusive(RESULT_END);
    let mut kept = ends.next().unwrap_or_default().to_owned();
    for part in ends {
        let between = part.find(CALL).map_or("", |at| &part[..at]);
        // A person's turn opens one turn more.
        let is_template = !is_marked(between) && between.matches(TURN).count() <= 1;
        kept.push_str(if is_template {
            &part[between.len()..]
        } else {
            part
        });
    }
    kept
}
