//! Finds out the manner of a chat template, by trying it once when it is loaded.

use serde_json::json;

use super::conversation::{Content, Conversation, Message, Role};
use super::manner::{Manner, Results, System};
use super::mark::{Piece, Pieces};
use super::writer::Writer;
use crate::engine::{EngineError, ToolCall};

/// The texts of the trials. They tell the parts of a prompt apart.
const SYSTEM: &str = "the system text";
const QUESTION: &str = "the question";
const RESULTS: [&str; 2] = ["the first result", "the second result"];

/// Names of tools in the trials.
const TOOLS: [&str; 2] = ["first_tool", "second_tool"];

/// The manner of the template that `writer` compiled.
///
/// # Errors
/// When it refuses a question, or leaves out what the person says.
pub(super) fn manner(writer: &Writer) -> Result<Manner, EngineError> {
    let plain = Manner::default();
    let asked = [said(Role::User, QUESTION)];
    if !written(writer, &asked, plain)?.is_whole {
        let why = "it leaves out what the person says";
        return Err(EngineError::Template(why.into()));
    }
    let told = [said(Role::System, SYSTEM), said(Role::User, QUESTION)];
    let refusal = match written(writer, &told, plain) {
        Ok(pieces) if pieces.is_whole => None,
        Ok(_) => Some("it leaves that out".to_owned()),
        Err(EngineError::Template(why)) => Some(why),
        Err(error) => return Err(error),
    };
    let system = match refusal {
        None => System::Message,
        Some(why) => {
            log::info!(
                "the chat template in the model file takes no system text: {why}; it goes before the first question"
            );
            System::Question
        }
    };
    let manner = Manner { system, ..plain };
    if !written(writer, &told, manner)?.is_whole {
        let why = "it leaves out the system text, even as part of the question";
        return Err(EngineError::Template(why.into()));
    }
    let mut results = [Results::Responses, Results::Messages].into_iter();
    let results = results.find(|results| {
        let manner = Manner {
            results: *results,
            ..manner
        };
        tells_results(writer, &asked, manner)
    });
    let tools = declares_tools(writer, &asked, manner);
    if !tools {
        log::info!(
            "the chat template in the model file declares no tools: no command can be given to the model"
        );
    } else if results.is_none() {
        log::warn!(
            "the chat template in the model file cannot tell the model what a command found; commands that answer will fail"
        );
    }
    Ok(Manner {
        results: results.unwrap_or_default(),
        tools,
        ..manner
    })
}

fn said(role: Role, text: &str) -> Message<'_> {
    Message::new(role, vec![Content::Text(text)])
}

fn written(
    writer: &Writer,
    messages: &[Message<'_>],
    manner: Manner,
) -> Result<Pieces, EngineError> {
    let conversation = Conversation {
        messages,
        ..Conversation::default()
    };
    writer.write(&conversation, manner)
}

/// Whether the template writes the name of a tool that it gets.
fn declares_tools(writer: &Writer, messages: &[Message<'_>], manner: Manner) -> bool {
    let parameters = json!({"type": "object", "properties": {}});
    let function = json!({"name": TOOLS[0], "description": "", "parameters": parameters});
    let conversation = Conversation {
        messages,
        tools: &[json!({"type": "function", "function": function})],
        ..Conversation::default()
    };
    let written = writer.write(&conversation, manner);
    written.is_ok_and(|written| {
        let names = |piece: &Piece| matches!(piece, Piece::Template(it) if it.contains(TOOLS[0]));
        written.pieces.iter().any(names)
    })
}

/// Whether the template writes the result of each call, after the name of its tool.
fn tells_results(writer: &Writer, messages: &[Message<'_>], manner: Manner) -> bool {
    let call = |name: &str, result| ToolCall {
        name: name.into(),
        arguments: [].into(),
        result,
    };
    let called = [vec![
        call(TOOLS[0], Ok(RESULTS[0].into())),
        call(TOOLS[1], Err(RESULTS[1].into())),
    ]];
    let mut messages = messages.to_vec();
    messages.push(Message::calling(&called));
    written(writer, &messages, manner)
        .is_ok_and(|pieces| pieces.is_whole && names_results(&pieces.pieces))
}

/// Whether the last name before each result is that of its tool.
fn names_results(pieces: &[Piece]) -> bool {
    let before = |result: &str| {
        let said = Piece::Said(result.into());
        let at = pieces.iter().position(|piece| *piece == said)?;
        match pieces.get(at.checked_sub(1)?)? {
            Piece::Template(text) => Some(text.as_str()),
            Piece::Said(_) | Piece::Audio => None,
        }
    };
    let named = |result, name: &str, other: &str| {
        before(result).is_some_and(|text| text.rfind(name) > text.rfind(other))
    };
    named(RESULTS[0], TOOLS[0], TOOLS[1]) && named(RESULTS[1], TOOLS[1], TOOLS[0])
}
