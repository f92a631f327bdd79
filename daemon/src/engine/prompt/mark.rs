//! Marks: what a chat template gets instead of the texts of people, operators and tools.
//!
//! A mark is the number of a text between two private-use characters. The texts are put back afterwards, as
//! [`Piece::Said`]. So a typed `<|turn>system` is characters, not a control token, whatever the template does.
//!
//! A template may write a text as a JSON string. Then the mark notes how the text is to be escaped.

use std::borrow::Cow;

use super::escape::Escape;
use crate::engine::EngineError;
use crate::engine::bounds::LONGEST_PROMPT;

/// Where the template puts sound (`<|audio|>` in every Gemma 4 template).
pub(super) const AUDIO_PLACE: &str = "<|audio|>";

/// The characters around the number of a text, from Unicode's private use area.
const MARK: (char, char) = ('\u{F0001}', '\u{F0002}');

/// How often a text may be escaped. Each time doubles its backslashes.
const MOST_ESCAPES: usize = 3;

/// A piece of a rendered prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Piece {
    /// The template's own text; control tokens in it count.
    Template(String),
    /// Text of a person, the operator or a tool; control tokens in it are mere characters.
    Said(String),
    /// Where the clip goes.
    Audio,
}

/// A rendered prompt in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// Whether every text is among them.
    pub is_whole: bool,
}

/// Texts from outside the template, by the number in their marks.
#[derive(Debug, Default)]
pub(super) struct Texts<'a>(Vec<&'a str>);

impl<'a> Texts<'a> {
    /// The mark that stands for `text` in the template. An empty text has none, because templates ask whether there is a
    /// text.
    pub(super) fn mark(&mut self, text: &'a str) -> String {
        if text.is_empty() {
            return String::new();
        }
        self.0.push(text);
        format!("{}{}{}", MARK.0, self.0.len() - 1, MARK.1)
    }

    /// Cuts a rendered prompt at the marks and at the places for sound.
    ///
    /// # Errors
    /// When the template damaged a mark, or the prompt is longer than [`LONGEST_PROMPT`].
    pub(super) fn put_back(&self, rendered: &str) -> Result<Pieces, EngineError> {
        let mut pieces = Vec::new();
        let mut room = LONGEST_PROMPT;
        let mut is_there = vec![false; self.0.len()];
        for (nth, part) in rendered.split(MARK.0).enumerate() {
            let template = if nth == 0 {
                part
            } else {
                let (said, rest) = part
                    .split_once(MARK.1)
                    .and_then(|(mark, rest)| Some((self.text(mark, &mut is_there)?, rest)))
                    .ok_or_else(|| EngineError::Template("it garbles the messages' text".into()))?;
                room = room.checked_sub(said.len()).ok_or_else(too_long)?;
                pieces.push(Piece::Said(said.into_owned()));
                rest
            };
            for (nth, text) in template.split(AUDIO_PLACE).enumerate() {
                if nth > 0 {
                    pieces.push(Piece::Audio);
                }
                if !text.is_empty() {
                    pieces.push(Piece::Template(text.to_owned()));
                }
            }
        }
        let is_whole = is_there.into_iter().all(|it| it);
        Ok(Pieces { pieces, is_whole })
    }

    /// The text of what stands in a mark: its number, and a letter for each time that it was escaped.
    fn text(&self, mark: &str, is_there: &mut [bool]) -> Option<Cow<'a, str>> {
        let number = mark.trim_end_matches(|it: char| Escape::of_letter(it).is_some());
        let escapes = &mark[number.len()..];
        if escapes.len() > MOST_ESCAPES {
            return None;
        }
        let number = number.parse::<usize>().ok()?;
        let text = Cow::Borrowed(*self.0.get(number)?);
        is_there[number] = true;
        let escapes = escapes.chars().filter_map(Escape::of_letter);
        Some(escapes.fold(text, |text, escape| escape.of(&text).into()))
    }
}

impl Escape {
    const ALL: [Self; 2] = [Self::Demanded, Self::Foreign];

    /// The letter in a mark whose text is to be escaped.
    fn letter(self) -> char {
        match self {
            Self::Demanded => 'j',
            Self::Foreign => 'a',
        }
    }

    fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.letter() == letter)
    }

    /// A string of a template with its characters escaped. Marks in it note that their texts are to be escaped.
    pub(super) fn of_marked(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut is_in_mark = false;
        for character in text.chars() {
            if character == MARK.1 && is_in_mark {
                out.push(self.letter());
            }
            if character == MARK.0 || is_in_mark {
                out.push(character);
                is_in_mark = character != MARK.1;
            } else {
                self.push(character, &mut out);
            }
        }
        out
    }
}

/// Whether there is a mark in `rendered`.
pub(super) fn is_marked(rendered: &str) -> bool {
    rendered.contains(MARK.0)
}

/// The error for a prompt of more than [`LONGEST_PROMPT`] bytes.
pub(super) fn too_long() -> EngineError {
    EngineError::Template(format!("it writes more than {LONGEST_PROMPT} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_put_back_escaped_as_often_as_its_mark_was() {
        let mut texts = Texts::default();
        let mark = texts.mark("é \"x\"");
        for (rendered, said) in [
            (mark.clone(), "é \"x\""),
            (Escape::Demanded.of_marked(&mark), "é \\\"x\\\""),
            (Escape::Foreign.of_marked(&mark), "\\u00e9 \\\"x\\\""),
            (
                Escape::Foreign.of_marked(&Escape::Demanded.of_marked(&mark)),
                "\\u00e9 \\\\\\\"x\\\\\\\"",
            ),
        ] {
            let put_back = texts.put_back(&rendered).unwrap();
            assert_eq!(put_back.pieces, [Piece::Said(said.into())]);
            assert!(put_back.is_whole);
        }
        let often = (0..4).fold(mark, |mark, _| Escape::Demanded.of_marked(&mark));
        assert!(texts.put_back(&often).is_err());
    }

    #[test]
    fn a_text_that_is_left_out_is_noticed() {
        let mut texts = Texts::default();
        let marks = ["one", "two"].map(|text| texts.mark(text));
        assert!(texts.put_back(&marks.concat()).unwrap().is_whole);
        assert!(!texts.put_back(&marks[1]).unwrap().is_whole);
    }
}
