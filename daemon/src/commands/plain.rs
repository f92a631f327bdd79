//! Names and texts of a catalogue that can hold no protocol.
//!
//! The chat template writes them among the model's control tokens, where a `<turn|>` in a description would
//! count. So what could be taken for a token is refused where the file is read.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most bytes of a name.
const LONGEST_NAME: usize = 64;

/// Most bytes of a text.
const LONGEST_TEXT: usize = 1000;

/// The name of a command or a parameter: lower-case letters, digits and underscores, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// A text on one line, not empty, without `<` and without control or private-use characters.
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
                "{text:?} is no name; a name has lower-case letters, digits and underscores, begins with a \
                 letter and has at most {LONGEST_NAME} characters"
            ))
        }
    }
}

impl TryFrom<String> for Plain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.chars().find(|character| !is_plain(*character)) {
            Some(character) => Err(format!(
                "{text:?} holds {character:?}; `<`, line breaks, and control or private-use characters cannot \
                 be told to a model"
            )),
            None if text.trim().is_empty() => Err("it is empty; write something".into()),
            None if text.len() > LONGEST_TEXT => Err(format!(
                "it has {} bytes, but at most {LONGEST_TEXT} are allowed; shorten it",
                text.len()
            )),
            None => Ok(Self(text)),
        }
    }
}

/// Whether `text` is a name.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
}

/// Whether a text or a value may hold this character.
pub(super) fn is_plain(character: char) -> bool {
    let private = matches!(character, '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..);
    character != '<' && !character.is_control() && !private
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
    fn a_name_is_a_word_of_the_protocol() {
        for name in ["", "Set", "1st", "a-b", "a{", "ä", "_x"] {
            assert!(Name::try_from(name.to_owned()).is_err(), "{name:?}");
        }
        assert!(Name::try_from("set_light_2".to_owned()).is_ok());
    }
}
