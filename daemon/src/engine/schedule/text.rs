//! Tokens to the text a person may see.
//!
//! Two things stand between: a character can be spread over several tokens, and Gemma 4 writes its
//! thoughts into a channel (`<|channel>thought … <channel|>`) that no answer shows, even when it was
//! told not to think.

use crate::engine::llama::model::{Model, Token};

/// A piece of an answer: whole characters, and the tokens that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text; never empty.
    pub text: String,
    /// The token ids.
    pub tokens: Vec<i32>,
}

/// The class of a token in the vocabulary.
enum Class {
    Open,
    Close,
    Bytes(Vec<u8>),
}

/// The text of one answer as it grows.
#[derive(Debug, Default)]
pub(in crate::engine) struct Text {
    bytes: Vec<u8>,
    tokens: Vec<Token>,
    thinking: bool,
    thought: u32,
}

impl Text {
    /// Takes the next token; returns the text that can be shown now.
    pub(in crate::engine) fn push(&mut self, model: &Model, token: Token) -> Option<Piece> {
        let class = match model.thought() {
            Some((open, _)) if token == open => Class::Open,
            Some((_, close)) if token == close => Class::Close,
            _ => Class::Bytes(model.bytes(token)),
        };
        self.take(token, class)
    }

    /// Ends the text; the rest of a broken character becomes U+FFFD.
    pub(in crate::engine) fn finish(&mut self) -> Option<Piece> {
        if self.bytes.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned();
        let tokens = std::mem::take(&mut self.tokens);
        Some(Piece { text, tokens })
    }

    /// Tokens of thought so far, its control tokens included.
    pub(in crate::engine) fn thought(&self) -> u32 {
        self.thought
    }

    fn take(&mut self, token: Token, class: Class) -> Option<Piece> {
        let bytes = match class {
            Class::Open => {
                self.thinking = true;
                self.thought += 1;
                return None;
            }
            Class::Close => {
                self.thinking = false;
                self.thought += 1;
                return None;
            }
            Class::Bytes(_) if self.thinking => {
                self.thought += 1;
                return None;
            }
            Class::Bytes(bytes) => bytes,
        };
        if bytes.is_empty() {
            return None;
        }
        self.bytes.extend(bytes);
        self.tokens.push(token);
        let text = take_characters(&mut self.bytes);
        if text.is_empty() {
            return None;
        }
        let tokens = std::mem::take(&mut self.tokens);
        Some(Piece { text, tokens })
    }
}

/// Takes all whole characters from the front; bytes that cannot begin one become U+FFFD.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let broken = chunk.invalid();
        let unfinished = taken + broken.len() == bytes.len() && may_continue(broken);
        if broken.is_empty() || unfinished {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        taken += broken.len();
    }
    bytes.drain(..taken);
    text
}

/// Whether more bytes could make a character of these.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(text: &mut Text, token: Token, bytes: &[u8]) -> Option<(String, Vec<Token>)> {
        text.take(token, Class::Bytes(bytes.into()))
            .map(|piece| (piece.text, piece.tokens))
    }

    #[test]
    fn a_character_spread_over_tokens_comes_out_whole() {
        let mut text = Text::default();
        assert_eq!(
            push(&mut text, 1, b"caf\xc3"),
            Some(("caf".into(), vec![1]))
        );
        assert_eq!(
            push(&mut text, 2, b"\xa9 \xf0\x9f"),
            Some(("é ".into(), vec![2]))
        );
        assert_eq!(push(&mut text, 3, b"\x8e"), None);
        assert_eq!(
            push(&mut text, 4, b"\x89!"),
            Some(("🎉!".into(), vec![3, 4]))
        );
        assert_eq!(text.finish(), None);
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_not_kept_waiting() {
        let mut text = Text::default();
        assert_eq!(
            push(&mut text, 1, b"a\xffb"),
            Some(("a\u{fffd}b".into(), vec![1]))
        );
        assert_eq!(push(&mut text, 2, b"\xf0\x9f"), None);
        assert_eq!(
            push(&mut text, 3, b"x"),
            Some(("\u{fffd}x".into(), vec![2, 3]))
        );
        assert_eq!(push(&mut text, 4, b"\xc3"), None);
        let last = text.finish().unwrap();
        assert_eq!((last.text.as_str(), last.tokens), ("\u{fffd}", vec![4]));
    }

    #[test]
    fn thought_is_counted_and_never_shown() {
        let mut text = Text::default();
        assert_eq!(text.take(10, Class::Open), None);
        assert_eq!(push(&mut text, 11, b"thought\nsecret"), None);
        assert_eq!(text.take(12, Class::Close), None);
        assert_eq!(
            push(&mut text, 13, b"Hello"),
            Some(("Hello".into(), vec![13]))
        );
        assert_eq!(text.take(10, Class::Open), None);
        assert_eq!(push(&mut text, 14, b"never closed"), None);
        assert_eq!(text.finish(), None);
        assert_eq!(text.thought(), 5);
    }
}
