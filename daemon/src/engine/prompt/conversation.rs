//! A conversation, and the messages that a chat template gets of it.
//!
//! Templates get what means the same to all of them. Texts are trimmed. Calls and their results are one message
//! for each round, because the published templates name results of role `tool` wrongly or take them for turns.

use minijinja::value::Serde;
use minijinja::{Value, context};

use super::manner::{Manner, Results, System};
use super::mark::Texts;
use crate::engine::ToolCall;

/// One thing in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Content<'a> {
    /// The clip of the request.
    Audio,
    /// Text from outside the template, such as a question or the system prompt.
    Text(&'a str),
}

/// Who has the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Role {
    /// The operator.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Message<'a> {
    /// Who has the turn.
    pub role: Role,
    /// The tools that the model called in it before its words, round by round.
    pub called: &'a [Vec<ToolCall>],
    /// Its media and texts, in order.
    pub content: Vec<Content<'a>>,
}

impl<'a> Message<'a> {
    /// A turn without calls.
    pub(in crate::engine) fn new(role: Role, content: Vec<Content<'a>>) -> Self {
        Self {
            role,
            called: &[],
            content,
        }
    }

    /// The model's turn, up to the results of these calls.
    pub(in crate::engine) fn calling(called: &'a [Vec<ToolCall>]) -> Self {
        Self {
            role: Role::Assistant,
            called,
            content: Vec::new(),
        }
    }
}

/// A conversation up to where the model goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Conversation<'a> {
    /// The turns, a system text first, if there is one. A last one of the model goes on.
    pub messages: &'a [Message<'a>],
    /// Declarations of tools.
    pub tools: &'a [serde_json::Value],
    /// Whether the model may think.
    pub thinking: bool,
}

impl<'a> Conversation<'a> {
    /// Its messages, as a template of this manner takes them, and their texts.
    pub(super) fn messages(&self, manner: Manner) -> (Vec<Value>, Texts<'a>) {
        let mut texts = Texts::default();
        let messages = match manner.system {
            System::Message => self.messages.to_vec(),
            System::Question => without_system(self.messages),
        };
        let mut values = Vec::new();
        let mut rounds = 0;
        for message in &messages {
            let Some((last, earlier)) = message.called.split_last() else {
                values.push(texts.message(message));
                continue;
            };
            for calls in earlier {
                values.extend(texts.calls(rounds, calls, manner.results, &[]));
                rounds += 1;
            }
            values.extend(texts.calls(rounds, last, manner.results, &message.content));
            rounds += 1;
        }
        (values, texts)
    }
}

/// The messages with the system text before the person's first text.
fn without_system<'a>(messages: &[Message<'a>]) -> Vec<Message<'a>> {
    let Some((system, others)) = messages.split_first() else {
        return Vec::new();
    };
    let mut others = others.to_vec();
    match others.first_mut() {
        Some(first) if system.role == Role::System && first.role == Role::User => {
            first.content.splice(0..0, system.content.iter().copied());
            others
        }
        _ => messages.to_vec(),
    }
}

impl<'a> Texts<'a> {
    /// A message as templates expect it: texts alone are a string, anything else a list of typed items.
    fn message(&mut self, message: &Message<'a>) -> Value {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let texts = message.content.iter().map(|content| match content {
            Content::Text(text) => Some(self.mark(text.trim())),
            Content::Audio => None,
        });
        let texts: Vec<_> = texts.collect();
        if !texts.is_empty() && texts.iter().all(Option::is_some) {
            let content = texts.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
            return context! { role, content };
        }
        let content = texts.into_iter().map(|text| match text {
            None => context! { type => "audio" },
            Some(text) => context! { type => "text", text },
        });
        context! { role, content => content.collect::<Vec<_>>() }
    }

    /// The calls of a round and their results, and the words after them.
    fn calls(
        &mut self,
        round: usize,
        calls: &'a [ToolCall],
        results: Results,
        words: &[Content<'a>],
    ) -> Vec<Value> {
        let id = |nth: usize| format!("call_{round}_{nth}");
        let tool_calls = calls.iter().enumerate().map(|(nth, call)| {
            let arguments = call.arguments.iter();
            let arguments = arguments.map(|(key, value)| (key.as_str(), self.value(value)));
            let arguments = Value::from_pairs(arguments);
            let function = context! { name => call.name.as_str(), arguments };
            context! { type => "function", id => id(nth), function }
        });
        let tool_calls: Vec<_> = tool_calls.collect();
        let role = "assistant";
        if results == Results::Responses {
            let responses = calls
                .iter()
                .map(|call| context! { name => call.name.as_str(), response => self.result(call) });
            let tool_responses: Vec<_> = responses.collect();
            // Not left out, because some templates ask for its length.
            let content = self.words(words);
            return vec![context! { role, content, tool_calls, tool_responses }];
        }
        let mut messages = vec![context! { role, content => "", tool_calls }];
        messages.extend(calls.iter().enumerate().map(|(nth, call)| {
            let content = self.result(call);
            context! { role => "tool", name => call.name.as_str(), tool_call_id => id(nth), content }
        }));
        let content = self.words(words);
        if !content.is_empty() {
            messages.push(context! { role, content });
        }
        messages
    }

    /// Texts as one.
    fn words(&mut self, words: &[Content<'a>]) -> String {
        let texts = words.iter().filter_map(|content| match content {
            Content::Text(text) => Some(self.mark(text.trim())),
            Content::Audio => None,
        });
        texts.collect::<Vec<_>>().join("\n\n")
    }

    /// The result of a call: a text, or a mapping that says what went wrong.
    fn result(&mut self, call: &'a ToolCall) -> Value {
        match &call.result {
            Ok(said) => self.mark(said).into(),
            Err(why) => context! { error => self.mark(why) },
        }
    }

    fn value(&mut self, value: &'a serde_json::Value) -> Value {
        match value {
            serde_json::Value::String(text) => self.mark(text).into(),
            serde_json::Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            serde_json::Value::Object(items) => Value::from_pairs(
                items
                    .iter()
                    .map(|(key, item)| (key.as_str(), self.value(item))),
            ),
            other => Value::from(Serde(other)),
        }
    }
}
