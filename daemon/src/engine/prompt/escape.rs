//! Escapes of characters in a JSON string, as Python's `json` writes them.

use std::fmt::Write as _;

/// The characters of a string that are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// Those that JSON demands: quotes, backslashes and controls.
    Demanded,
    /// These, and all that are not ASCII.
    Foreign,
}

impl Escape {
    /// `text` with its characters escaped.
    pub(super) fn of(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for character in text.chars() {
            self.push(character, &mut out);
        }
        out
    }

    /// Appends `character`, escaped if need be, to `out`.
    pub(super) fn push(self, character: char, out: &mut String) {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            '\u{7f}'.. if self == Self::Demanded => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_escaped_as_python_does() {
        let text = "a\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é👍";
        assert_eq!(
            Escape::Demanded.of(text),
            "a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u{7f}é👍"
        );
        assert_eq!(
            Escape::Foreign.of(text),
            "a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u007f\\u00e9\\ud83d\\udc4d"
        );
    }
}
