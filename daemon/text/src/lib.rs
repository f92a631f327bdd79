//! Text that is shown to people: on a terminal, in the journal, in a list.
//!
//! Some characters have other effects than being read. They move the cursor, reverse the text around them, or are
//! invisible, so that two different texts look alike, or a model reads words that no person sees. This module decides
//! which characters have such effects, for the daemon and its clients alike, by their Unicode categories:
//!
//! | characters | example | when cleaned |
//! |---|---|---|
//! | controls | U+001B | shown as U+FFFD |
//! | line breaks and tabs, where there is one line | U+000A, U+2028 | a space |
//! | private-use and unassigned | U+E000 | shown as U+FFFD |
//! | formats, such as bidirectional overrides and tags | U+202E, U+2066, U+200B, U+E0041 | left out |
//! | joiners where no script needs them | U+200D in `a‍b` | left out |
//! | marks beyond the fifth on one letter | U+0301 | left out |
//!
//! [`check`] refuses them, for text whose author can mend it. [`line`] and [`lines`] clean text from outside that has
//! to be shown; [`Stream`] cleans text that comes in pieces.

use std::borrow::Cow;
use std::fmt;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Maximum number of marks in a row. Hebrew with vowels and cantillation has four or five.
const MOST_MARKS: u8 = 5;

/// First character that a joiner may join or keep apart: Latin, Greek, Cyrillic and Armenian are below it, and emoji
/// above.
const FIRST_JOINED: char = '\u{590}';

/// Replaces the rest of a text that is cut.
const CUT: char = '…';

/// The first character in a text that must not be shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// The character.
    pub character: char,
    /// Its position in characters, from 1.
    pub position: usize,
    /// What is wrong with it.
    pub kind: FlawKind,
}

/// What is wrong with a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlawKind {
    /// It controls a terminal.
    Control,
    /// It is a line break or a tab.
    Break,
    /// It is invisible, or changes the order of the characters around it.
    Hidden,
    /// It is for private use or unassigned, so it has no agreed meaning.
    Unknown,
    /// It is a mark after too many others on the same letter.
    Marks,
}

/// Cleans text that comes in pieces. A piece may end inside a word or between a letter and its marks. Line breaks and
/// tabs stay.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    reader: Reader,
    /// Joiner at the end of the last piece, held back until the next character decides whether it stays.
    joiner: Option<char>,
    /// Whether the last character shown is a space, which a line break shown as a space must not double.
    is_after_space: bool,
}

/// State of the text read so far on which the next character depends.
#[derive(Debug, Clone, Default)]
struct Reader {
    before: Option<char>,
    /// Marks in a row up to here.
    marks: u8,
}

/// Whether a text is one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Line,
    Lines,
}

/// Checks that `text` is one line that can be shown to people unchanged.
///
/// # Errors
/// The first character that must not be shown.
pub fn check(text: &str) -> Result<(), Flaw> {
    check_as(Layout::Line, text)
}

/// Checks that `text` can be shown to people unchanged; several lines and tabs are allowed.
///
/// # Errors
/// The first character that must not be shown.
pub fn check_lines(text: &str) -> Result<(), Flaw> {
    check_as(Layout::Lines, text)
}

/// `text` cleaned, as one line of at most `most` characters. A cut text ends with `…`.
#[must_use]
pub fn line(text: &str, most: usize) -> Cow<'_, str> {
    clean(Layout::Line, text, most)
}

/// `text` cleaned, at most `most` characters, with its line breaks and tabs. A cut text ends with `…`.
#[must_use]
pub fn lines(text: &str, most: usize) -> Cow<'_, str> {
    clean(Layout::Lines, text, most)
}

impl Stream {
    /// Cleans the next piece.
    pub fn push(&mut self, piece: &str) -> String {
        let held = self.joiner.take();
        let mut shown = String::with_capacity(piece.len());
        let mut rest = held.into_iter().chain(piece.chars()).peekable();
        while let Some(character) = rest.next() {
            let after = rest.peek().copied();
            if after.is_none() && is_joiner(character) {
                self.joiner = Some(character);
            } else {
                let read = self.reader.read(character, after, Layout::Lines);
                let Some(character) = shown_as(character, read) else {
                    continue;
                };
                let doubles = read.is_err() && character == ' ' && self.is_after_space;
                if !doubles {
                    shown.push(character);
                }
                self.is_after_space = character == ' ';
            }
        }
        shown
    }
}

fn check_as(layout: Layout, text: &str) -> Result<(), Flaw> {
    let mut reader = Reader::default();
    let mut rest = text.chars().zip(1..).peekable();
    while let Some((character, position)) = rest.next() {
        let after = rest.peek().map(|(after, _)| *after);
        let read = reader.read(character, after, layout);
        read.map_err(|kind| Flaw {
            character,
            position,
            kind,
        })?;
    }
    Ok(())
}

fn clean(layout: Layout, text: &str, most: usize) -> Cow<'_, str> {
    let is_short = text.chars().nth(most).is_none();
    if is_short && check_as(layout, text).is_ok() {
        return Cow::Borrowed(text);
    }
    if most == 0 {
        return Cow::Borrowed("");
    }
    let mut reader = Reader::default();
    let mut shown = String::new();
    let mut room = most;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let after = rest.peek().copied();
        let read = reader.read(character, after, layout);
        let Some(character) = shown_as(character, read) else {
            continue;
        };
        if read.is_err() && character == ' ' && shown.ends_with(' ') {
            continue;
        }
        if room == 1 && after.is_some() {
            shown.truncate(shown.trim_end_matches(is_joiner).len());
            shown.push(CUT);
            break;
        }
        shown.push(character);
        room -= 1;
    }
    Cow::Owned(shown)
}

/// The character to show in place of `character`; `None`: it is left out.
fn shown_as(character: char, read: Result<(), FlawKind>) -> Option<char> {
    match read {
        Ok(()) => Some(character),
        // Usually before a line feed, where it has no meaning of its own.
        Err(FlawKind::Control) if character == '\r' => None,
        Err(FlawKind::Control | FlawKind::Unknown) => Some(char::REPLACEMENT_CHARACTER),
        Err(FlawKind::Break) => Some(' '),
        Err(FlawKind::Hidden | FlawKind::Marks) => None,
    }
}

impl Reader {
    /// Judges a character and takes note of it; `after` is the next one.
    fn read(
        &mut self,
        character: char,
        after: Option<char>,
        layout: Layout,
    ) -> Result<(), FlawKind> {
        let read = self.judge(character, after, layout);
        // The next character stands beside the one shown, not beside the one read.
        if let Some(shown) = shown_as(character, read) {
            self.before = Some(shown);
            self.marks = match is_mark(shown) {
                true => self.marks + 1,
                false if is_joiner(shown) => self.marks,
                false => 0,
            };
        }
        read
    }

    fn judge(&self, character: char, after: Option<char>, layout: Layout) -> Result<(), FlawKind> {
        use GeneralCategory as Is;
        if matches!(character, ' '..='~') {
            return Ok(());
        }
        match character.general_category() {
            Is::Control => control(character, layout),
            Is::LineSeparator | Is::ParagraphSeparator => Err(FlawKind::Break),
            Is::PrivateUse | Is::Unassigned => Err(FlawKind::Unknown),
            _ if is_joiner(character) => self.joiner(after),
            _ if is_hidden(character) => Err(FlawKind::Hidden),
            _ if is_selector(character) && self.before.is_none_or(has_no_variants) => {
                Err(FlawKind::Hidden)
            }
            _ if is_mark(character) && self.marks >= MOST_MARKS => Err(FlawKind::Marks),
            _ => Ok(()),
        }
    }

    /// A joiner stays only between two characters that it can affect.
    fn joiner(&self, after: Option<char>) -> Result<(), FlawKind> {
        let before = self.before.is_some_and(is_joined);
        let after = after.is_some_and(|after| {
            let is_one_too_many = is_mark(after) && self.marks >= MOST_MARKS;
            is_joined(after) && !is_selector(after) && !is_one_too_many
        });
        (before && after).then_some(()).ok_or(FlawKind::Hidden)
    }
}

fn control(character: char, layout: Layout) -> Result<(), FlawKind> {
    match (layout, character) {
        (Layout::Lines, '\n' | '\t') => Ok(()),
        (Layout::Line, '\t'..='\r' | '\u{85}') => Err(FlawKind::Break),
        _ => Err(FlawKind::Control),
    }
}

/// Zero-width joiner and non-joiner.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

/// Whether a joiner beside it may have an effect: a letter of a script that joins, a mark on one, or an emoji.
fn is_joined(character: char) -> bool {
    use GeneralCategory as Is;
    let category = character.general_category();
    let joins = matches!(
        category,
        Is::OtherLetter
            | Is::NonspacingMark
            | Is::SpacingMark
            | Is::OtherSymbol
            // Skin tones.
            | Is::ModifierSymbol
    );
    joins && character >= FIRST_JOINED && !is_hidden(character)
}

/// Variation selectors, which choose the glyph of the character before them.
fn is_selector(character: char) -> bool {
    matches!(
        character,
        '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}'
    )
}

/// Whether no variation selector affects it: a letter of a script with capitals, or a mark.
fn has_no_variants(character: char) -> bool {
    is_mark(character) || character.is_lowercase() || character.is_uppercase()
}

/// Whether it is a combining mark, which takes no width of its own.
fn is_mark(character: char) -> bool {
    use GeneralCategory as Is;
    // U+0300 is the first combining mark.
    character >= '\u{300}'
        && matches!(
            character.general_category(),
            Is::NonspacingMark | Is::EnclosingMark
        )
}

/// Whether it is invisible: a format character, or a mark or letter that is a blank filler. Signs that enclose digits,
/// such as the Arabic ones, are format characters too, but visible.
fn is_hidden(character: char) -> bool {
    let encloses = matches!(
        character,
        '\u{600}'..='\u{605}' | '\u{6DD}' | '\u{70F}' | '\u{890}'..='\u{891}' | '\u{8E2}' | '\u{110BD}' | '\u{110CD}'
    );
    let fills = matches!(
        character,
        '\u{34F}'
            | '\u{115F}'
            | '\u{1160}'
            | '\u{17B4}'
            | '\u{17B5}'
            | '\u{180E}'
            | '\u{3164}'
            | '\u{FFA0}'
    );
    fills || character.general_category() == GeneralCategory::Format && !encloses
}

/// Completes a sentence that begins with "it holds".
impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            character,
            position,
            kind,
        } = self;
        let code = u32::from(*character);
        write!(formatter, "U+{code:04X} (character {position}), {kind}")
    }
}

impl fmt::Display for FlawKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Control => "a control character",
            Self::Break => "a line break or a tab",
            Self::Hidden => "which nobody sees or which turns the text around it",
            Self::Unknown => "which has no meaning in Unicode",
            Self::Marks => "one mark too many on a letter",
        })
    }
}

impl std::error::Error for Flaw {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scripts_and_emoji_stay_as_they_are() {
        for text in [
            "Überall an, {bitte}: \"ja\"",
            "شب‌خیز می‌خواهم",
            "ක්‍රීඩා",
            "র‍্যাব",
            "שָׁלוֹם",
            "👩‍🚀 🏳️‍🌈 ❤️‍🔥 🧔🏽‍♂️ 1️⃣",
            "ภาษาไทย",
            "བསྒྲུབས",
            "１００ ％",
            "Tiếng Việt",
            "e\u{301}\u{323}",
            "۝",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
            assert!(matches!(line(text, 100), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn what_does_more_than_be_read_is_refused_and_cleaned() {
        let marks = format!("a{}", "\u{301}".repeat(100));
        let few = format!("a{}", "\u{301}".repeat(5));
        for (text, shown) in [
            ("a\u{1b}[2J", "a\u{FFFD}[2J"),
            ("on\u{202E}ffo", "onffo"),
            ("\u{2066}a\u{2069}", "a"),
            ("a\u{200B}b\u{200E}c\u{FEFF}d\u{AD}e", "abcde"),
            ("two\u{2028}lines", "two lines"),
            ("two\r\n\n lines", "two  lines"),
            ("o\u{200D}n", "on"),
            ("on\u{200C}", "on"),
            ("hidden\u{E0041}\u{E0042}", "hidden"),
            ("\u{3164}", ""),
            ("on\u{34F}\u{17B4}\u{180B}\u{FE0F}", "on"),
            ("\u{E000}\u{10FFFF}", "\u{FFFD}\u{FFFD}"),
            (&marks, &few),
            ("\u{2764}\u{FE0F}\u{E0100}", "\u{2764}\u{FE0F}"),
        ] {
            assert!(check(text).is_err(), "{text:?}");
            assert_eq!(line(text, 1000), shown, "{text:?}");
        }
        let flaw = check("on\u{202E}ffo").unwrap_err().to_string();
        assert!(flaw.starts_with("U+202E (character 3), "), "{flaw}");
    }

    #[test]
    fn several_lines_stay_lines_where_they_may() {
        assert_eq!(lines("a\n\tb", 10), "a\n\tb");
        assert_eq!(lines("a\r\n\u{7}b", 10), "a\n\u{FFFD}b");
        assert!(check("a\n\tb").is_err());
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(line("abcdef", 6), "abcdef");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("a\u{200B}b", 2), "ab");
        assert_eq!(line("abc", 0), "");
        assert_eq!(line("👩‍🚀 flies", 3), "👩…");
    }

    #[test]
    fn a_piece_may_end_between_a_letter_and_its_joiner() {
        let mut stream = Stream::default();
        let pieces = ["👩", "\u{200D}", "🚀 o\u{200D}", "n\u{1b}", "\n"];
        let shown: String = pieces.iter().map(|piece| stream.push(piece)).collect();
        assert_eq!(shown, "👩‍🚀 on\u{FFFD}\n");
    }

    fn hostile() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            any::<char>(),
            prop::sample::select(
                "aé\u{301}\u{202E}\u{200D}\u{200C}🚀ක\u{FE0F}\u{E0041}\r\n\t <"
                    .chars()
                    .collect::<Vec<_>>()
            ),
            prop::char::range('\u{300}', '\u{36F}'),
            prop::char::range('\u{2000}', '\u{2070}'),
        ];
        prop::collection::vec(character, 0..60).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn what_is_cleaned_is_clean_and_bounded(text in hostile(), most in 0..50_usize) {
            let one = line(&text, most);
            prop_assert_eq!(check(&one), Ok(()), "{:?}", one);
            prop_assert!(one.chars().count() <= most);
            let several = lines(&text, most);
            prop_assert_eq!(check_lines(&several), Ok(()), "{:?}", several);
            prop_assert!(several.chars().count() <= most);
        }

        #[test]
        fn what_is_clean_stays_as_it_is(text in hostile()) {
            if check(&text).is_ok() {
                prop_assert_eq!(line(&text, usize::MAX), text.as_str());
            }
        }

        #[test]
        fn pieces_are_cleaned_as_the_whole(text in hostile(), every in 1..5_usize) {
            let characters: Vec<_> = text.chars().collect();
            let mut stream = Stream::default();
            let pieces = characters.chunks(every);
            let shown: String = pieces.map(|piece| stream.push(&String::from_iter(piece))).collect();
            prop_assert_eq!(shown, lines(&text, usize::MAX));
        }
    }
}
