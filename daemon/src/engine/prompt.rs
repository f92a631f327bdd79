//! From a request to the rows the model is fed.

use std::sync::Arc;

use super::audio::Clip;
use super::model::{Model, Token};
use super::template::{Content, Message, Piece, Role};
use super::{EngineError, Request};

/// Longest text in bytes, system prompt included: 1 MiB is several times what Gemma 4's longest
/// context holds, and takes a fraction of a second to tokenise.
const LONGEST_TEXT: usize = 1 << 20;

/// Rows of one kind that follow each other.
#[derive(Debug)]
pub(super) enum Span {
    /// Token ids.
    Tokens(Vec<Token>),
    /// A clip and the number of soft tokens it makes.
    Audio(Arc<Clip>, usize),
}

impl Span {
    /// Rows of the span.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Audio(_, rows) => *rows,
        }
    }
}

/// Everything the model reads before it answers.
#[derive(Debug)]
pub(super) struct Prompt {
    /// The rows, in order.
    pub spans: Vec<Span>,
}

impl Prompt {
    /// Renders and tokenises `request`, and computes the mel spectrogram of its clip.
    ///
    /// # Errors
    /// When there is nothing to answer, the template refuses, or the model cannot hear.
    pub(super) fn new(model: &Model, request: &Request) -> Result<Self, EngineError> {
        let bytes = request.text.len() + request.system.len();
        if bytes > LONGEST_TEXT {
            return Err(EngineError::TextTooLong { bytes });
        }
        if request.clip.is_none() && request.text.trim().is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        let pieces = render(
            model,
            &request.system,
            request.clip.is_some(),
            &request.text,
            request.thinking,
        )?;
        let prompt = Self::assemble(model, pieces, request.clip.as_ref())?;
        let placed = prompt
            .spans
            .iter()
            .filter(|span| matches!(span, Span::Audio(..)))
            .count();
        if placed != usize::from(request.clip.is_some()) {
            return Err(EngineError::Deaf(
                "its chat template has no place for sound".into(),
            ));
        }
        Ok(prompt)
    }

    /// The tokens every request with this system prompt starts with: all before the person's words.
    ///
    /// # Errors
    /// When the template refuses.
    pub(super) fn prefix(model: &Model, system: &str) -> Result<Vec<Token>, EngineError> {
        let mut pieces = render(model, system, false, "?", false)?;
        let words = pieces
            .iter()
            .rposition(|piece| matches!(piece, Piece::Said(_)));
        pieces.truncate(words.unwrap_or(0));
        let mut prompt = Self::assemble(model, pieces, None)?;
        Ok(match prompt.spans.pop() {
            Some(Span::Tokens(tokens)) => tokens,
            _ => Vec::new(),
        })
    }

    /// All rows.
    pub(super) fn rows(&self) -> usize {
        self.spans.iter().map(Span::rows).sum()
    }

    /// Rows that are soft tokens of sound.
    pub(super) fn audio_rows(&self) -> usize {
        self.spans
            .iter()
            .map(|span| match span {
                Span::Tokens(_) => 0,
                Span::Audio(_, rows) => *rows,
            })
            .sum()
    }

    /// How many rows at the start are the same as `prefix`.
    pub(super) fn shared_rows(&self, prefix: &[Token]) -> usize {
        match self.spans.first() {
            Some(Span::Tokens(tokens)) => tokens
                .iter()
                .zip(prefix)
                .take_while(|(mine, cached)| mine == cached)
                .count(),
            _ => 0,
        }
    }

    fn assemble(
        model: &Model,
        pieces: Vec<Piece>,
        clip: Option<&Arc<Clip>>,
    ) -> Result<Self, EngineError> {
        let mut prompt = Self { spans: Vec::new() };
        prompt.extend(model.bos().filter(|bos| !starts_with(model, &pieces, *bos)));
        for piece in pieces {
            match piece {
                Piece::Template(text) => prompt.extend(model.tokenise_template(&text)),
                Piece::Said(text) => prompt.extend(model.tokenise_said(&text)),
                Piece::Audio => prompt.push_audio(model, clip)?,
            }
        }
        Ok(prompt)
    }

    fn extend(&mut self, tokens: impl IntoIterator<Item = Token>) {
        if let Some(Span::Tokens(last)) = self.spans.last_mut() {
            last.extend(tokens);
        } else {
            let tokens: Vec<_> = tokens.into_iter().collect();
            if !tokens.is_empty() {
                self.spans.push(Span::Tokens(tokens));
            }
        }
    }

    fn push_audio(&mut self, model: &Model, clip: Option<&Arc<Clip>>) -> Result<(), EngineError> {
        let projector = model
            .projector()
            .ok_or_else(|| EngineError::Deaf("[model] mmproj names no projector".into()))?;
        let clip =
            clip.ok_or_else(|| EngineError::Template("it asks for sound nobody gave".into()))?;
        // What llama.cpp writes around the soft tokens of gemma4a (mtmd.cpp:981).
        self.extend(model.tokenise_template("<|audio>"));
        let rows = clip.rows(projector)?;
        self.spans.push(Span::Audio(Arc::clone(clip), rows));
        self.extend(model.tokenise_template("<audio|>"));
        Ok(())
    }
}

fn render(
    model: &Model,
    system: &str,
    sound: bool,
    text: &str,
    thinking: bool,
) -> Result<Vec<Piece>, EngineError> {
    let mut messages = Vec::new();
    if !system.trim().is_empty() {
        messages.push(Message {
            role: Role::System,
            content: vec![Content::Text(system)],
        });
    }
    let mut content = Vec::new();
    if sound {
        content.push(Content::Audio);
    }
    if !text.trim().is_empty() {
        content.push(Content::Text(text));
    }
    messages.push(Message {
        role: Role::User,
        content,
    });
    model.template().render(&messages, thinking)
}

/// Whether the template wrote the beginning-of-sequence token itself.
fn starts_with(model: &Model, pieces: &[Piece], bos: Token) -> bool {
    match pieces.first() {
        Some(Piece::Template(text)) => model.tokenise_template(text).first() == Some(&bos),
        _ => false,
    }
}
