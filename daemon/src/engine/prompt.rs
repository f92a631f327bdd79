//! From a request to the tokens the model reads.
//!
//! | file | owns |
//! |---|---|
//! | `template` | the chat template of the model file |
//! | `probe`, `manner` | how it takes what templates disagree about |
//! | `conversation` | the messages that it gets |
//! | `mark`, `escape` | texts that never go through it |
//! | `writer`, `jinja` | rendering, with Jinja as transformers has it |
//! | `source`, `generation`, `needs` | its source: what minijinja does not know |
//! | `json`, `float` | values as Python writes them |
//! | `stretches` | long texts, tokenised piece by piece |
//! | `rendering` | the prompt as people are shown it |

pub(super) mod conversation;
mod escape;
mod float;
mod generation;
mod jinja;
mod json;
mod manner;
pub(super) mod mark;
mod needs;
mod probe;
pub(super) mod rendering;
mod source;
pub(super) mod stretches;
pub(super) mod template;
mod writer;

use std::borrow::Cow;

use super::{EngineError, Preamble, Request, ToolCall, request};
use crate::engine::llama::model::{Model, Token};
use crate::engine::prompt::conversation::{Content, Conversation, Message, Role};
use crate::engine::prompt::mark::Piece;
use crate::engine::prompt::stretches::Bounds;

/// The tokens around the sound of a spoken turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Around {
    /// Up to the first soft token.
    pub before: Vec<Token>,
    /// From the last soft token to the start of the answer.
    pub after: Vec<Token>,
}

/// The tokens of a typed request.
///
/// # Errors
/// When there is nothing to answer, the template refuses, or the bounds are reached.
pub(super) fn typed(
    model: &Model,
    request: &Request,
    bounds: Bounds<'_>,
) -> Result<Vec<Token>, EngineError> {
    let text = request.question.text().unwrap_or_default();
    if text.trim().is_empty() {
        return Err(EngineError::EmptyPrompt);
    }
    let pieces = render(model, request, false)?;
    if pieces.contains(&Piece::Audio) {
        return Err(EngineError::Template(
            "it asks for sound nobody gave".into(),
        ));
    }
    match tokenise(model, &pieces, true, bounds)? {
        tokens if tokens.is_empty() => Err(EngineError::Template("it writes nothing".into())),
        tokens => Ok(tokens),
    }
}

/// The tokens around the sound of a request.
///
/// # Errors
/// When the template refuses or has no place for sound, or the bounds are reached.
pub(super) fn around_sound(
    model: &Model,
    request: &Request,
    bounds: Bounds<'_>,
) -> Result<Around, EngineError> {
    let pieces = render(model, request, true)?;
    let mut parts = pieces.split(|piece| *piece == Piece::Audio);
    let (Some(before), Some(after), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(EngineError::Deaf(
            "its chat template has no place for sound".into(),
        ));
    };
    let mut before = tokenise(model, before, true, bounds)?;
    let [end, begin] = marks(model);
    before.extend(begin);
    let mut all_after = end;
    all_after.extend(tokenise(model, after, false, bounds)?);
    Ok(Around {
        before,
        after: all_after,
    })
}

/// The tokens between two spans of sound in one turn.
pub(super) fn between_spans(model: &Model) -> Vec<Token> {
    marks(model).concat()
}

/// The tokens every request with this preamble starts with: all before the user's text.
///
/// # Errors
/// When the template refuses.
pub(super) fn prefix(model: &Model, preamble: &Preamble) -> Result<Vec<Token>, EngineError> {
    let mut pieces = render_turn(model, preamble, vec![Content::Text("?")], &[], false)?;
    let words = pieces
        .iter()
        .rposition(|piece| matches!(piece, Piece::Said(_)));
    pieces.truncate(words.unwrap_or(0));
    tokenise(model, &pieces, true, Bounds::NONE)
}

/// Length of the common prefix of `tokens` and `prefix`.
pub(super) fn common(tokens: &[Token], prefix: &[Token]) -> usize {
    let pairs = tokens.iter().zip(prefix);
    pairs.take_while(|(mine, cached)| mine == cached).count()
}

/// The tokens that llama.cpp puts after and before the soft tokens of a span (mtmd.cpp:981), in this order.
fn marks(model: &Model) -> [Vec<Token>; 2] {
    ["<audio|>", "<|audio>"].map(|mark| model.tokenise_template(mark))
}

fn tokenise(
    model: &Model,
    pieces: &[Piece],
    is_start: bool,
    bounds: Bounds<'_>,
) -> Result<Vec<Token>, EngineError> {
    let bos = model.bos().filter(|_| is_start);
    let mut tokens: Vec<_> = bos
        .filter(|bos| !starts_with(model, pieces, *bos))
        .into_iter()
        .collect();
    for piece in pieces {
        match piece {
            Piece::Template(text) => tokens.extend(model.tokenise_template(text)),
            Piece::Said(text) => {
                let bounds = bounds.behind(tokens.len());
                tokens.extend(model.tokenise_within(text, bounds)?);
            }
            Piece::Audio => {}
        }
    }
    Ok(tokens)
}

fn render(model: &Model, request: &Request, sound: bool) -> Result<Vec<Piece>, EngineError> {
    let Request {
        preamble,
        question,
        called,
        thinking,
        ..
    } = request;
    let now = preamble.now.as_deref().filter(|_| !model.is_bare());
    let text = question.text().filter(|it| !it.trim().is_empty());
    let content = if sound {
        let text = text.map(Content::Text);
        let before = now.map(Content::Text).into_iter();
        before.chain([Content::Audio]).chain(text).collect()
    } else {
        let texts = text.into_iter().chain(now);
        texts.map(Content::Text).collect()
    };
    render_turn(model, preamble, content, called, *thinking)
}

fn render_turn(
    model: &Model,
    preamble: &Preamble,
    asked: Vec<Content<'_>>,
    called: &[Vec<ToolCall>],
    thinking: bool,
) -> Result<Vec<Piece>, EngineError> {
    let Preamble {
        system,
        tools,
        history,
        ..
    } = preamble;
    let system = system.iter();
    let system = system.map(|text| Message::new(Role::System, vec![Content::Text(text)]));
    let history: Vec<_> = history.iter().map(Earlier::of).collect();
    // Some templates join messages of the model that follow each other, others make a turn of each.
    let turns = history.chunk_by(Earlier::goes_on_in);
    let turns = turns.map(|turn| Message {
        // A turn is never empty.
        role: turn[0].role,
        called: turn[0].called,
        content: turn.iter().map(|it| Content::Text(&it.text)).collect(),
    });
    let mut messages: Vec<_> = system.chain(turns).collect();
    messages.push(Message::new(Role::User, asked));
    if !called.is_empty() {
        messages.push(Message::calling(called));
    }
    model.template().render(&Conversation {
        messages: &messages,
        tools,
        thinking,
    })
}

/// An earlier message.
struct Earlier<'a> {
    role: Role,
    called: &'a [Vec<ToolCall>],
    text: Cow<'a, str>,
}

impl<'a> Earlier<'a> {
    fn of(message: &'a request::Message) -> Self {
        let (role, called, text) = match message {
            request::Message::User(text) => (Role::User, [].as_slice(), text.into()),
            request::Message::Assistant { called, text } => {
                (Role::Assistant, called.as_slice(), without_thoughts(text))
            }
        };
        Self { role, called, text }
    }

    /// Whether both are one turn of the model. What it calls comes before its words.
    fn goes_on_in(&self, next: &Self) -> bool {
        [self.role, next.role] == [Role::Assistant; 2] && next.called.is_empty()
    }
}

/// What the model said without what it thought, which no later prompt repeats.
fn without_thoughts(text: &str) -> Cow<'_, str> {
    let [open, close] = ["<|channel>", "<channel|>"];
    if !text.contains(open) && !text.contains(close) {
        return text.into();
    }
    let parts = text.split(close).map(|part| part.split(open).next());
    parts.flatten().collect::<String>().into()
}

/// Whether the template wrote the beginning-of-sequence token itself.
fn starts_with(model: &Model, pieces: &[Piece], bos: Token) -> bool {
    match pieces.first() {
        Some(Piece::Template(text)) => model.tokenise_template(text).first() == Some(&bos),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_model_thought_is_not_repeated() {
        for (written, said) in [
            ("Hello.", "Hello."),
            ("<|channel>thought\nHm.<channel|>Hello.", "Hello."),
            (
                "One.<|channel>thought\n<channel|> Two.<|channel>cut",
                "One. Two.",
            ),
            ("<|channel>thought\nHm.", ""),
        ] {
            assert_eq!(without_thoughts(written), said);
        }
    }
}
