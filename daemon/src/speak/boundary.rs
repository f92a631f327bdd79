//! Whether a sentence, or its first clause, ends before white space.
//!
//! The rules of languages and their abbreviations are those of `sentencex`, Wikimedia's segmenter. It is given the last
//! words only, so that text may be cut while it comes, and the next word only where that matters.

use sentencex::language_factory;
use sentencex::languages::Language;

use super::language;

/// Least number of words in the first clause. "Yes, …" on its own would sound chopped off.
const FIRST_WORDS: usize = 3;

/// Marks that end a clause.
pub const PAUSES: [char; 9] = [',', ';', ':', '—', '–', '，', '、', '،', '؛'];

/// Characters that may stand between the end of a sentence and white space.
const CLOSING: &str = "\"'”’»›)]_」』）";

/// Abbreviations before a number that `sentencex` does not know, of all languages and of some.
const ABBREVIATIONS: [(&str, &[&str]); 3] = [
    ("", &["approx", "ca", "incl"]),
    (
        "en",
        &[
            "apt", "avg", "ch", "chap", "eq", "est", "excl", "figs", "max", "min", "para", "tel",
            "vol", "vols", "Mon", "Tue", "Tues", "Wed", "Thu", "Thur", "Thurs", "Fri", "Sat",
            "Sun",
        ],
    ),
    (
        "de",
        &[
            "aufl", "exkl", "geb", "gegr", "inkl", "max", "min", "mind", "tel", "zzgl",
        ],
    ),
];

/// A word that is an answer where it is a whole sentence, and else an abbreviation before a number.
const ANSWER: &str = "No";

/// Most letters of an unlisted abbreviation with a full stop.
const SHORT: usize = 3;

/// Whether something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing does.
    No,
    /// It does.
    Yes,
    /// The next word decides.
    Open,
}

/// Whether a sentence ends after `seen`, its last words, or, if it is the first, its first clause. It has `words` words
/// so far.
#[must_use]
pub fn at(seen: &str, words: usize, is_first: bool, tag: &str) -> End {
    let rules = language_factory(language::code(tag));
    let text = seen.trim_end_matches(|it| CLOSING.contains(it));
    let Some(mark) = Mark::of(text, &*rules) else {
        if !is_first || words < FIRST_WORDS || !text.ends_with(PAUSES) {
            return End::No;
        }
        // Numbers and dates have commas.
        let is_number = text.trim_end_matches(PAUSES).ends_with(char::is_numeric);
        return if is_number { End::Open } else { End::Yes };
    };
    if words == 1 && mark.marks == "." && mark.word() == ANSWER {
        return End::Yes;
    }
    if mark.is_certain(tag) && rules.find_boundary(text, mark.start, text.len()).is_some() {
        End::Yes
    } else {
        End::Open
    }
}

/// Decides [`End::Open`]: whether it ends after `seen` if the word `next` follows.
#[must_use]
pub fn before(next: &str, seen: &str, tag: &str) -> bool {
    let rules = language_factory(language::code(tag));
    let text = seen.trim_end_matches(|it| CLOSING.contains(it));
    let Some(mark) = Mark::of(text, &*rules) else {
        return !next.starts_with(char::is_numeric);
    };
    let next = next.trim_start_matches(|it: char| !it.is_alphanumeric());
    let goes_on = next.starts_with(char::is_lowercase)
        || next.starts_with(char::is_numeric) && mark.is_before_number(tag);
    if mark.marks == "." && goes_on {
        return false;
    }
    rules
        .find_boundary(&format!("{text} {next}"), mark.start, text.len())
        .is_some()
}

/// Whether only a clause has ended after `seen`.
#[must_use]
pub fn is_clause(seen: &str) -> bool {
    let text = seen.trim_end_matches(|it| CLOSING.contains(it));
    text.ends_with(PAUSES)
}

/// Whether `word` is this abbreviation. At the start of a sentence it has a capital letter, but is not all in capitals.
#[must_use]
pub fn is_written(word: &str, abbreviation: &str) -> bool {
    let is_capitalised = abbreviation.starts_with(char::is_lowercase)
        && word.eq_ignore_ascii_case(abbreviation)
        && word.get(1..) == abbreviation.get(1..);
    word == abbreviation || is_capitalised
}

/// Whether it stands before numbers in this language.
fn is_abbreviation(word: &str, tag: &str) -> bool {
    let code = language::code(tag);
    ABBREVIATIONS
        .iter()
        .filter(|(it, _)| it.is_empty() || *it == code)
        .any(|(_, words)| words.iter().any(|it| is_written(word, it)))
}

/// Whether `character` ends a sentence where no spaces are written.
#[must_use]
pub fn is_end_without_space(character: char) -> bool {
    matches!(character, '。' | '！' | '？' | '｡')
}

/// The marks at the end of a text that may end a sentence.
struct Mark<'a> {
    /// The text before.
    before: &'a str,
    /// The marks.
    marks: &'a str,
    /// Where they begin.
    start: usize,
}

impl<'a> Mark<'a> {
    fn of(text: &'a str, rules: &dyn Language) -> Option<Self> {
        let ends = rules.get_sentence_break_regex();
        let is_end = |it: char| {
            !it.is_alphanumeric() && ends.is_match(it.encode_utf8(&mut [0; 4])) || it == '…'
        };
        let before = text.trim_end_matches(is_end);
        let start = before.len();
        (start < text.len()).then(|| Self {
            before,
            marks: &text[start..],
            start,
        })
    }

    /// Whether the marks end a sentence whatever follows. A full stop does not if it may be that of an abbreviation, an
    /// initial or an ordinal; neither does an ellipsis.
    fn is_certain(&self, tag: &str) -> bool {
        if self.marks != "." {
            return self.marks.chars().count() == 1 && self.marks != "…";
        }
        let word = self.word();
        let is_short = word.chars().count() <= SHORT && word.starts_with(char::is_uppercase);
        let is_letter = word.chars().count() == 1;
        word.contains(char::is_alphabetic)
            && !word.contains('.')
            && !is_short
            && !is_letter
            && !is_abbreviation(word, tag)
    }

    /// Whether the full stop is that of an abbreviation if a number follows.
    fn is_before_number(&self, tag: &str) -> bool {
        let word = self.word();
        let before = self.before.split_whitespace().nth_back(1);
        let before = before.unwrap_or_default();
        // Names, the star and the unit are words.
        let is_word = match word {
            "Max" | "Min" => !before.is_empty(),
            "Sun" => before.eq_ignore_ascii_case("the"),
            "min" => before.ends_with(char::is_numeric),
            _ => false,
        };
        !is_word && is_abbreviation(word, tag)
    }

    /// The word before.
    fn word(&self) -> &'a str {
        let word = self
            .before
            .split_whitespace()
            .next_back()
            .unwrap_or_default();
        word.trim_start_matches(|it: char| !it.is_alphanumeric())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a sentence ends after `seen` if `next` follows.
    fn ends(seen: &str, next: &str, tag: &str) -> bool {
        match at(seen, seen.split_whitespace().count(), false, tag) {
            End::No => false,
            End::Yes => true,
            End::Open => before(next, seen, tag),
        }
    }

    #[test]
    fn full_stops_of_abbreviations_initials_ordinals_and_dates_end_nothing() {
        for (seen, next, tag) in [
            ("Ask Dr.", "Smith", "en"),
            ("fruit, e.g.", "apples", "en"),
            ("It was J.", "S.", "en"),
            ("on Mar.", "5", "en"),
            ("at 3:45 p.m.", "on", "en"),
            ("it is z.", "B.", "de"),
            ("it is z. B.", "so", "de"),
            ("am 3.", "Mai", "de"),
            ("bzw.", "so", "de"),
            ("Wait...", "no", "en"),
            ("from a.", "segmentation", "en"),
            ("approx.", "five", "en"),
            ("takes approx.", "20", "en"),
            ("call tel.", "555", "en"),
            ("see vol.", "3", "en"),
            ("Max.", "10", "en"),
            ("with max.", "10", "en"),
            ("with min.", "(5", "en"),
            ("on Sat.", "5", "en"),
            ("on Jan.", "5", "en"),
            ("incl.", "5", "en"),
            ("est.", "1990", "en"),
            ("see Ch.", "5", "en"),
            ("see Fig.", "2", "en"),
            ("on pp.", "3", "en"),
            ("it is ca.", "5", "en"),
            ("see No.", "3", "en"),
            ("es sind ca.", "5", "de"),
            ("siehe Nr.", "5", "de"),
            ("nach Abs.", "2", "de"),
            ("nach Art.", "5", "de"),
            ("mit max.", "5", "de"),
            ("am Sa.", "5", "de"),
        ] {
            assert!(!ends(seen, next, tag), "{seen} {next}");
        }
    }

    #[test]
    fn words_that_look_like_abbreviations_end_sentences() {
        for (seen, next, tag) in [
            ("No.", "3", "en"),
            ("I asked Max.", "5", "en"),
            ("We go round the Sun.", "8", "en"),
            ("There they sat.", "5", "en"),
            ("It is 10 litres max.", "Then", "en"),
        ] {
            assert!(ends(seen, next, tag), "{seen} {next}");
        }
    }

    #[test]
    fn full_stops_of_all_scripts_end_sentences() {
        for (seen, next, tag) in [
            ("So it is.", "Then", "en"),
            ("(So it is.)", "Then", "en"),
            ("He is in the U.S.", "They", "en"),
            ("It was 1999.", "Then", "en"),
            ("नमस्ते।", "आप", "hi"),
            ("یہ ایک ہے۔", "یہ", "ur"),
            ("كيف حالك؟", "أنا", "ar"),
            ("Բարեւ։", "Ինչպես", "hy"),
            ("ሰላም።", "እንዴት", "am"),
        ] {
            assert!(ends(seen, next, tag), "{seen} {next}");
        }
    }

    #[test]
    fn a_plain_word_before_a_full_stop_needs_no_word_after_it() {
        for seen in [
            "The light is on.",
            "because.",
            "Is it so?",
            "Yes!",
            "No such thing.",
        ] {
            assert_eq!(at(seen, 3, false, "en"), End::Yes, "{seen}");
        }
        for seen in ["Mar.", "p.m.", "U.S.", "1999.", "Dr.", "etc."] {
            assert_eq!(at(seen, 3, false, "en"), End::Open, "{seen}");
        }
    }

    #[test]
    fn the_first_clause_ends_after_three_words_but_not_inside_a_date() {
        assert_eq!(at("The sky is blue,", 4, true, "en"), End::Yes);
        assert_eq!(at("The sky is blue,", 4, false, "en"), End::No);
        assert_eq!(at("Well,", 1, true, "en"), End::No);
        assert_eq!(at("On March 5,", 3, true, "en"), End::Open);
        assert!(!before("2024", "On March 5,", "en"));
        assert!(before("we", "On March 5, 2024,", "en"));
    }
}
