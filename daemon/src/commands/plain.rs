//! Names and texts of a catalogue: without control tokens, and without characters that display deceptively or not at
//! all.
//!
//! The chat template writes them among the model's control tokens, where a `<turn|>` in a description would be read as
//! a token. People read them in a terminal, a journal or a question to be confirmed. So text that could be taken for a
//! token or that controls its display ([`gemmad_text`]) is refused where the file is read.

use std::borrow::Borrow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use gemmad_text as text;
use serde::{Deserialize, Serialize};

/// Most bytes of a name.
const LONGEST_NAME: usize = 64;

/// Most bytes of a text.
const LONGEST_TEXT: usize = 1000;

/// Most characters of a text that a message quotes.
const MOST_QUOTED: usize = 60;

/// Characters that no value may hold, at any place. The grammar keeps the model from writing them.
const BARRED: [RangeInclusive<char>; 16] = [
    // Controls.
    '\0'..='\u{1f}',
    // Begins a token of the protocol.
    '<'..='<',
    '\u{7f}'..='\u{9f}',
    // The soft hyphen, and letters without a visible form.
    '\u{ad}'..='\u{ad}',
    '\u{115f}'..='\u{1160}',
    '\u{3164}'..='\u{3164}',
    // The zero-width space and the marks of direction. The joiners between them are allowed.
    '\u{200b}'..='\u{200b}',
    '\u{200e}'..='\u{200f}',
    // Separators of lines and controls of direction.
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    // Private use.
    '\u{e000}'..='\u{f8ff}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    // Tags, unassigned characters, private use. The variation selectors between the two ranges are allowed.
    '\u{e0000}'..='\u{e00ff}',
    '\u{e01f0}'..='\u{10ffff}',
];

/// A character that is not barred, as a class of a regular expression.
pub(super) static CHARACTER: LazyLock<String> = LazyLock::new(|| {
    let ranges = BARRED.iter().map(|range| {
        let [first, last] = [range.start(), range.end()].map(|it| u32::from(*it));
        format!(r"\u{{{first:x}}}-\u{{{last:x}}}")
    });
    format!("[^{}]", ranges.collect::<String>())
});

/// The name of a command or a parameter: lower-case letters, digits and underscores, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// A text on one line, not empty, without `<` and without characters that do not display as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Plain(String);

impl Name {
    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Plain {
    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err(format!(
                "{} is no name; a name has lower-case letters, digits and underscores, begins with a \
                 letter and has at most {LONGEST_NAME} characters",
                quoted(&text)
            ))
        }
    }
}

impl TryFrom<String> for Plain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > LONGEST_TEXT {
            Err(format!(
                "it has {} bytes, but at most {LONGEST_TEXT} are allowed; shorten it",
                text.len()
            ))
        } else if text.trim().is_empty() {
            Err("it is empty; write something".into())
        } else if text.contains('<') {
            Err(format!(
                "{} holds '<', which begins the tokens of a model; leave it out",
                quoted(&text)
            ))
        } else if let Err(flaw) = text::check(&text) {
            Err(format!("{} holds {flaw}; leave it out", quoted(&text)))
        } else {
            Ok(Self(text))
        }
    }
}

/// The beginning of `text` for a message, in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text::line(text, MOST_QUOTED))
}

/// Whether a value may be this text, regardless of its length.
pub(super) fn is_value(text: &str) -> bool {
    !text.is_empty() && !text.contains('<') && text::check(text).is_ok()
}

/// Whether `text` is a name.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
}

/// Whether a value may hold this character, regardless of its neighbours.
pub(super) fn is_plain(character: char) -> bool {
    !BARRED.iter().any(|range| range.contains(&character))
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_could_be_a_token_is_no_text() {
        for text in [
            "turn <turn|>",
            "two\nlines",
            "\u{1b}[2J",
            "\u{F0001}0\u{F0002}",
            " ",
        ] {
            assert!(Plain::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(Plain::try_from("Überall an, {bitte}: \"ja\"".to_owned()).is_ok());
    }

    #[test]
    fn a_text_is_what_people_see() {
        for text in [
            "on\u{202E}ffo",
            "\u{2066}on\u{2069}",
            "o\u{200B}n",
            "two\u{2028}lines",
            "on\u{E0041}",
            &format!("o{}n", "\u{301}".repeat(100)),
        ] {
            let refused = Plain::try_from(text.to_owned()).unwrap_err();
            assert!(refused.contains(" holds U+"), "{refused}");
            assert_eq!(text::check(&refused), Ok(()), "{refused:?}");
        }
        assert!(Plain::try_from("می‌خواهم 👩‍🚀".to_owned()).is_ok());
    }

    #[test]
    fn what_a_model_cannot_write_no_text_may_hold() {
        for character in ('\0'..=char::MAX).filter(|it| !is_plain(*it)) {
            // Between letters that join, so that nothing is wrong but the character.
            let text = format!("ක{character}ක");
            assert!(!is_value(&text), "U+{:04X}", u32::from(character));
        }
    }

    #[test]
    fn a_name_is_a_word_of_the_protocol() {
        for name in ["", "Set", "1st", "a-b", "a{", "ä", "_x"] {
            assert!(Name::try_from(name.to_owned()).is_err(), "{name:?}");
        }
        assert!(Name::try_from("set_light_2".to_owned()).is_ok());
    }
}
