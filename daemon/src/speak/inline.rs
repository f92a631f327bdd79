//! Where a paragraph of Markdown must not be cut: inside code, tags, links and their addresses; and which of its
//! characters people read.
//!
//! This only finds places to cut. What the pieces mean is read by a parser, in [`super::markdown`].

/// Bytes after which something that was opened is taken for text, because it will not be closed.
const LONGEST: usize = 600;

/// What is open at a place of a paragraph.
#[derive(Debug, Default)]
pub struct Inline {
    state: State,
    /// Square brackets that are open.
    brackets: usize,
    /// Bytes since something was opened.
    open: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After a backslash.
    Escaped,
    /// In the backquotes that begin code.
    Backquotes(usize),
    /// In code: the backquotes that end it, and how many of them came last.
    Code(usize, usize),
    /// After `<`.
    Angle,
    /// In a tag, or an address in angle brackets.
    Tag,
    /// After `[`.
    Bracket,
    /// In the mark of a footnote.
    Footnote,
    /// After `]`.
    Closed,
    /// In the address of a link: how many parentheses are open.
    Address(usize),
}

impl Inline {
    /// Reads on; returns whether people read `character`.
    pub fn read(&mut self, character: char) -> bool {
        let is_read = self.step(character);
        if self.is_open() {
            self.open += character.len_utf8();
            if self.open > LONGEST {
                *self = Self::default();
            }
        } else {
            self.open = 0;
        }
        is_read
    }

    /// Whether something is open that must not be cut.
    pub fn is_open(&self) -> bool {
        let is_text = matches!(
            self.state,
            State::Text | State::Escaped | State::Angle | State::Closed
        );
        self.brackets > 0 || !is_text
    }

    #[allow(clippy::match_same_arms)] // The arms stand in the order of the states.
    fn step(&mut self, character: char) -> bool {
        use State::{
            Address, Angle, Backquotes, Bracket, Closed, Code, Escaped, Footnote, Tag, Text,
        };
        let (state, is_read) = match (self.state, character) {
            (Escaped, _) => (Text, true),
            (Backquotes(ticks), '`') => (Backquotes(ticks + 1), false),
            (Backquotes(ticks), _) => (Code(ticks, 0), true),
            (Code(ticks, run), '`') if run + 1 < ticks => (Code(ticks, run + 1), false),
            (Code(..), '`') => (Text, false),
            (Code(ticks, _), _) => (Code(ticks, 0), true),
            (Angle, it) if it.is_ascii_alphabetic() || "/!?".contains(it) => (Tag, false),
            (Tag, '>') => (Text, false),
            (Tag, _) => (Tag, false),
            (Bracket, '^') => (Footnote, false),
            (Footnote, ']') => {
                self.brackets = self.brackets.saturating_sub(1);
                (Text, false)
            }
            (Footnote, _) => (Footnote, false),
            (Closed, '(') => (Address(1), false),
            (Address(1), ')') => (Text, false),
            (Address(depth), ')') => (Address(depth - 1), false),
            (Address(depth), '(') => (Address(depth + 1), false),
            (Address(depth), _) => (Address(depth), false),
            (Text | Angle | Bracket | Closed, it) => self.begin(it),
        };
        self.state = state;
        is_read
    }

    /// What a character begins where it continues nothing.
    fn begin(&mut self, character: char) -> (State, bool) {
        match character {
            '\\' => (State::Escaped, false),
            '`' => (State::Backquotes(1), false),
            '<' => (State::Angle, false),
            '[' => {
                self.brackets += 1;
                (State::Bracket, false)
            }
            ']' => {
                self.brackets = self.brackets.saturating_sub(1);
                (State::Closed, false)
            }
            '*' | '~' => (State::Text, false),
            _ => (State::Text, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters people read, and the text with a bar where it may be cut at a space.
    fn read(text: &str) -> (String, String) {
        let mut inline = Inline::default();
        let (mut seen, mut places) = (String::new(), String::new());
        for character in text.chars() {
            if inline.read(character) {
                seen.push(character);
            }
            let is_place = character == ' ' && !inline.is_open();
            places.push(if is_place { '|' } else { character });
        }
        (seen, places)
    }

    #[test]
    fn code_tags_links_and_addresses_are_not_cut_and_marks_are_not_read() {
        for (text, seen, places) in [
            ("a *b* `c d` e", "a b c d e", "a|*b*|`c d`|e"),
            ("``a ` b`` c", "a  b c", "``a ` b``|c"),
            ("a <img alt=\"b. c\"> d", "a  d", "a|<img alt=\"b. c\">|d"),
            ("a < b > c", "a  b > c", "a|<|b|>|c"),
            (
                "see [the docs](u v (w)) x",
                "see the docs x",
                "see|[the docs](u v (w))|x",
            ),
            ("[![a b](c d)](e f) g", "!a b g", "[![a b](c d)](e f)|g"),
            ("so.[^1 2] b", "so. b", "so.[^1 2]|b"),
            ("a \\[b c] \\` d", "a [b c ` d", "a|\\[b|c]|\\`|d"),
        ] {
            assert_eq!(read(text), (seen.into(), places.into()), "{text}");
        }
    }

    #[test]
    fn what_is_never_closed_is_text_after_a_while() {
        for opening in ["`", "[", "<a ", "[a](", "[^"] {
            let text = format!("{opening}{}", "word ".repeat(200));
            assert!(read(&text).1.contains('|'), "{opening}");
        }
    }
}
