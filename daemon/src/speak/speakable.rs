//! A passage as people would read it out: without Markdown, addresses, emojis, and signs that a synthesiser does not
//! read.
//!
//! Text from a model or a client is hostile. Whatever it is, the result is one line of text without control characters,
//! and not much longer. English words, such as those of [`super::english`], are added only for a voice that speaks
//! English: of other languages the synthesiser knows more.

use super::english::{self, Word};
use super::passage::Passage;
use super::{arithmetic, language, markdown};

/// Characters around words that are not read.
const AROUND: &str = "*_`\"'“”‘’«»()[]{}";

/// Marks that end a word.
const ENDS: &str = ".,;:!?…";

/// Signs of ASCII and Latin-1 that synthesisers read.
const SIGNS: &str = "&+=%§$£¥€₹°±×÷@#<>";

/// `passage` as a person would read it out; empty when there is nothing to say. Signs become words only where `tag` is
/// English (`en`, `en-us`, …).
#[must_use]
pub fn speakable(passage: &Passage, tag: &str) -> String {
    let is_english = language::code(tag) == "en";
    let source = match passage {
        Passage::Code if is_english => return "There is code here.".into(),
        Passage::Code => return String::new(),
        Passage::Text(source) => source,
    };
    let source = arithmetic::without_stars(&readable(source));
    let text = readable(&markdown::read(&source, is_english));
    let text = arithmetic::mathematical(&text, is_english);
    let words: Vec<Word<'_>> = text.split_whitespace().map(parts).collect();
    let mut spoken = String::with_capacity(text.len());
    let mut at = 0;
    while at < words.len() {
        let (said, count) = read_out(&words[at..], is_english);
        let is_dash = matches!(words[at].core, "-" | "–" | "—");
        if is_said(&said) && !is_dash {
            if !spoken.is_empty() {
                spoken.push(' ');
            }
            spoken.push_str(&said);
        } else if is_dash && spoken.ends_with(char::is_alphanumeric) {
            spoken.push(',');
        }
        at += count;
    }
    if !is_said(&spoken) {
        return String::new();
    }
    if spoken.ends_with(char::is_alphanumeric) {
        spoken.push('.');
    }
    spoken
}

/// Whether a synthesiser has anything to say of it.
fn is_said(text: &str) -> bool {
    let is_sign = |it: char| {
        SIGNS.contains(it) || matches!(it, '\u{20a0}'..='\u{20cf}' | '\u{2190}'..='\u{22ff}')
    };
    text.contains(|it: char| it.is_alphanumeric() || is_sign(it))
}

/// The text without characters that are no text.
fn readable(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_kept = match character {
            // Joiners are part of words in Persian, Sinhala and others, and of emojis.
            '\u{200c}' | '\u{200d}' => {
                let joins = |it: char| !it.is_ascii() && !it.is_whitespace() && is_text(it);
                readable.chars().next_back().is_some_and(joins)
                    && characters.peek().copied().is_some_and(joins)
            }
            it => is_text(it),
        };
        if is_kept {
            readable.push(if character.is_control() {
                ' '
            } else {
                character
            });
        }
    }
    readable
}

/// Whether the character may be read, or parts words.
fn is_text(character: char) -> bool {
    !matches!(character,
        // Marks that join, direct or vary their neighbours, and characters for private use.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffd}' | '\u{e0000}'..
        // Emojis, dingbats and other pictures (Unicode's blocks of symbols).
        | '\u{20e3}' | '\u{2300}'..='\u{23ff}' | '\u{2500}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}')
}

/// A word, and the mark that ends it.
fn parts(word: &str) -> Word<'_> {
    let is_around = |it: char| AROUND.contains(it);
    let word = word.trim_matches(is_around);
    let core = word.trim_end_matches(|it: char| ENDS.contains(it) || is_around(it));
    let end = word[core.len()..].trim_start_matches(is_around);
    let first = end.chars().next().map_or(0, char::len_utf8);
    Word {
        core: core.trim_matches(is_around),
        end: &end[..first],
    }
}

/// The reading of the first of these words, and how many words it stands for.
fn read_out(words: &[Word<'_>], is_english: bool) -> (String, usize) {
    let first = words[0];
    let address = address(first.core, is_english);
    let phrase = if is_english && address.is_none() {
        english::read(words)
    } else {
        None
    };
    let (said, count, end) = match phrase {
        Some(phrase) => {
            let end = if phrase.is_abbreviation {
                ""
            } else {
                words[phrase.words - 1].end
            };
            (phrase.said, phrase.words, end)
        }
        None => (address.unwrap_or_else(|| first.core.into()), 1, first.end),
    };
    let mut letters = String::with_capacity(said.len());
    let mut before = ' ';
    let mut characters = said.chars().peekable();
    while let Some(it) = characters.next() {
        let after = characters.peek().copied().unwrap_or(' ');
        if let Some(it) = letter(it, before, after, is_english) {
            letters.push(it);
        }
        before = it;
    }
    let letters: Vec<_> = letters.split_whitespace().collect();
    (letters.join(" ") + end, count)
}

/// The reading of a character inside a word. Some part words, and some are not read.
fn letter(character: char, before: char, after: char, is_english: bool) -> Option<char> {
    match character {
        '_' | '|' | '\\' | '<' | '>' => Some(' '),
        '*' | '`' | '[' | ']' | '{' | '}' => None,
        // Between numbers it means something.
        '/' if is_english && !(before.is_ascii_digit() && after.is_ascii_digit()) => Some(' '),
        '=' | '^' if is_english => Some(' '),
        '~' | '#' if is_english => None,
        it => Some(it),
    }
}

/// The address of a page or a mailbox as it is dictated.
fn address(word: &str, is_english: bool) -> Option<String> {
    let (at, dot) = if is_english {
        (" at ", " dot ")
    } else {
        ("@", ".")
    };
    let page = word.split_once("://").map(|(_, rest)| rest);
    if let Some(page) = page.or_else(|| word.strip_prefix("www.")) {
        let host = page.split(['/', '?', '#', ':']).next().unwrap_or_default();
        let host = host.strip_prefix("www.").unwrap_or(host);
        return Some(host.replace('.', dot));
    }
    let (name, host) = word.split_once('@')?;
    let is_mailbox = !name.is_empty() && host.contains('.') && !host.contains('@');
    let mailbox = || format!("{}{at}{}", name.replace('.', dot), host.replace('.', dot));
    is_mailbox.then(mailbox)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sentences::{Sentences, Step};
    use super::*;

    /// What is said of a whole text.
    fn said_in(text: &str, language: &str) -> String {
        let mut sentences = Sentences::new(language);
        sentences.push(text);
        sentences.end();
        let mut said = Vec::new();
        loop {
            match sentences.read() {
                Step::Passage(passage) => said.push(speakable(&passage, language)),
                Step::More => {}
                Step::Starved | Step::Over => break,
            }
        }
        said.retain(|it| !it.is_empty());
        said.join(" ")
    }

    fn said(text: &str) -> String {
        said_in(text, "en-us")
    }

    fn assert_said(cases: &[(&str, &str)]) {
        for (text, spoken) in cases {
            assert_eq!(said(text), *spoken, "{text}");
        }
    }

    #[test]
    fn marks_of_markdown_are_not_read() {
        assert_said(&[
            ("## The **best** tea", "The best tea."),
            ("- [x] *add* `tea_leaves`", "add tea leaves."),
            ("> It was ~~not~~ **so.**", "It was not so."),
            ("1. Boil water", "1. Boil water."),
            ("| Tea | 3 min | **hot** |", "Tea, 3 minutes, hot."),
            ("|---|:-:|", ""),
            ("Use snake_case and <br> tags", "Use snake case and tags."),
            ("She said \"yes!\" (twice).", "She said yes! twice."),
        ]);
    }

    #[test]
    fn links_and_addresses_are_said_as_people_say_them() {
        assert_said(&[
            (
                "See [the docs](https://example.org/a?b=c).",
                "See the docs.",
            ),
            ("![A cat](cat.png) sits.", "A cat sits."),
            (
                "Go to https://www.example.org/a/b?c=d#e, please.",
                "Go to example dot org, please.",
            ),
            (
                "Write to <ada.l@example.org>.",
                "Write to ada dot l at example dot org.",
            ),
        ]);
    }

    #[test]
    fn of_a_document_only_what_people_read_is_read() {
        let document = "\
[![Build](https://ci.example.org/badge.svg)](https://ci.example.org) [![docs][d]][d]

<p align=\"center\">
  <img src=\"logo.png\" alt=\"A logo. With a description, which is long.\">
</p>

# Tool

A tool that causes a
segmentation fault, see [the manual][m] in section
7. It has one.

[d]: https://docs.example.org
[m]: https://man.example.org \"Manual\"
";
        assert_eq!(
            said(document),
            "Tool. A tool that causes a segmentation fault, see the manual in section 7. It has one."
        );
    }

    #[test]
    fn signs_and_units_are_words_in_english_and_left_alone_elsewhere() {
        assert_said(&[
            (
                "It is 21°C or 70 °F.",
                "It is 21 degrees Celsius or 70 degrees Fahrenheit.",
            ),
            (
                "At 5 km/h for 1 h, 10–20 km.",
                "At 5 kilometres per hour for 1 hour, 10 to 20 kilometres.",
            ),
            (
                "That costs $5.50 & 20% more.",
                "That costs 5.50 dollars and 20 percent more.",
            ),
            ("2 + 2 = 4", "2 plus 2 equals 4."),
            (
                "It was -3 °C, ~5 m away",
                "It was minus 3 degrees Celsius, about 5 metres away.",
            ),
            (
                "Meet at 10:30 in room #12",
                "Meet at 10:30 in room number 12.",
            ),
            ("It has 50 MB/s", "It has 50 megabytes per second."),
            (
                "in MB/s and km/h",
                "in megabytes per second and kilometres per hour.",
            ),
        ]);
        assert_eq!(
            said_in("Es sind 21 °C & **kalt**", "de"),
            "Es sind 21 °C & kalt."
        );
        assert_eq!(
            said_in("20 % und minus 1,5 °C, 1.234,50 € bei 5 km/h", "de"),
            "20 % und minus 1,5 °C, 1.234,50 € bei 5 km/h."
        );
    }

    #[test]
    fn decades_and_numbers_with_an_s_are_no_seconds() {
        assert_said(&[
            ("the 1990s", "the 1990s."),
            ("in the '90s", "in the 90s."),
            ("two 747s", "two 747s."),
            ("It took 5 s", "It took 5 seconds."),
        ]);
    }

    #[test]
    fn amounts_of_money_are_read_with_their_scale_and_what_they_are_for() {
        assert_said(&[
            ("$5 million", "5 million dollars."),
            ("It cost $1.5M.", "It cost 1.5 million dollars."),
            ("$5/month", "5 dollars per month."),
            ("€3.50–€4.20", "3.50 euros to 4.20 euros."),
            ("1.234,50 €, 20€, £1", "1.234,50 euros, 20 euros, 1 pound."),
            (
                "-$5 or $10-$20",
                "minus 5 dollars or 10 dollars to 20 dollars.",
            ),
        ]);
    }

    #[test]
    fn ranges_fractions_and_pairs_of_numbers_are_told_from_dates_and_scores() {
        assert_said(&[
            ("10-15 minutes", "10 to 15 minutes."),
            (
                "1939-1945, 5%-10%",
                "1939 to 1945, 5 percent to 10 percent.",
            ),
            ("call 555-1234, it was 3-1", "call 555-1234, it was 3-1."),
            (
                "0171-1234567, 030-123456, apartment 3/B",
                "0171-1234567, 030-123456, apartment 3 B.",
            ),
            ("from 9:00-17:00", "from 9:00 to 17:00."),
            (
                "1/2 cup, 1 1/2 cups, 2½ cups",
                "one half cup, 1 and one half cups, 2 and one half cups.",
            ),
            // People say the two numbers.
            ("50/50 and 24/7", "50 50 and 24 7."),
            ("12/05/1999 or 1999-05-12", "12/05/1999 or 1999-05-12."),
            ("rated 8/10", "rated 8/10."),
        ]);
    }

    #[test]
    fn signs_of_mathematics_and_music_are_not_dropped() {
        assert_said(&[
            ("a ≤ b ≠ c", "a is at most b is not equal to c."),
            ("≥5 of them, x → y", "at least 5 of them, x to y."),
            ("Write C# or F# here", "Write C sharp or F sharp here."),
            (
                "so $\\frac{1}{2}$ of $x^2$ is",
                "so one half of x squared is.",
            ),
            (
                "from $5 to $10, and $5–$10",
                "from 5 dollars to 10 dollars, and 5 dollars to 10 dollars.",
            ),
        ]);
        assert_eq!(said_in("a ≤ b ≠ c, C#, #5", "de"), "a ≤ b ≠ c, C#, #5.");
    }

    #[test]
    fn arithmetic_and_comparisons_are_read_with_their_signs() {
        assert_said(&[
            ("2*3 is 6", "2 times 3 is 6."),
            ("7*8=56", "7 times 8 equals 56."),
            (
                "2*3*4, 2 * 3 and `2*x`",
                "2 times 3 times 4, 2 times 3 and 2 times x.",
            ),
            ("2\\*3 *so* **2** *3*", "2 times 3 so 2 3."),
            (
                "2^10 is 1024, not 10^6 or x^2",
                "2 to the power of 10 is 1024, not 10 to the power of 6 or x squared.",
            ),
            (
                "if x >= 3 then y <= 4",
                "if x is at least 3 then y is at most 4.",
            ),
            ("a != b and a == b", "a is not equal to b and a equals b."),
            ("12/4=3", "12 divided by 4 equals 3."),
            ("2+2=4 and x=-5", "2 plus 2 equals 4 and x equals minus 5."),
            ("3 - 5 people", "3 to 5 people."),
            ("10 - 3 = 7", "10 minus 3 equals 7."),
            ("$10^{-3}$ is small", "10 to the power of minus 3 is small."),
        ]);
        for (text, spoken) in [
            ("2*3*4 = 24", "2×3×4 = 24."),
            ("x >= 3 und y<=4", "x ≥ 3 und y≤4."),
            ("a != b und 2^10, 2 ^ 3", "a ≠ b und 2^10, 2^3."),
        ] {
            assert_eq!(said_in(text, "de"), spoken);
        }
    }

    #[test]
    fn more_than_a_number_at_the_start_of_a_line_is_no_quotation() {
        assert_said(&[
            (
                ">90% of users agree",
                "more than 90 percent of users agree.",
            ),
            ("- >5 km away", "more than 5 kilometres away."),
            (">= 3 of them", "at least 3 of them."),
            ("> 5 of them", "5 of them."),
        ]);
    }

    #[test]
    fn abbreviations_that_synthesisers_do_not_know_are_words() {
        assert_said(&[
            (
                "It was on Mar. 5 and No. 7 is it.",
                "It was on March 5 and number 7 is it.",
            ),
            (
                "At 3:45 p.m. on Monday we go.",
                "At 3:45 p.m. on Monday we go.",
            ),
            ("It is us vs. them.", "It is us versus them."),
            (
                "It takes approx. 20 minutes.",
                "It takes approximately 20 minutes.",
            ),
            (
                "We meet on Sat. 5 May for max. 3 hours, see vol. 3.",
                "We meet on Saturday 5 May for maximum 3 hours, see volume 3.",
            ),
            ("Please see No. 3.", "Please see number 3."),
            (
                "Was it good? No. 3 of us left.",
                "Was it good? No. 3 of us left.",
            ),
        ]);
        assert_eq!(said_in("Das ist z. B. so.", "de"), "Das ist z. B. so.");
    }

    #[test]
    fn joiners_of_persian_and_sinhala_are_kept_and_those_of_emojis_are_not() {
        for text in ["می‌خواهم.", "ශ්‍රී."] {
            assert_eq!(said_in(text, "fa"), text);
        }
        assert_eq!(said("a\u{200d}b 👩\u{200d}💻 c"), "ab c.");
    }

    #[test]
    fn emojis_and_controls_are_not_read() {
        assert_eq!(said("Hello 👋🏽, wor\u{200b}ld ❤️!"), "Hello world.");
        assert_eq!(said("a\u{1b}[31mb\0c\u{202e}d"), "a 31mb cd.");
        assert_eq!(said("🎉🎉🎉"), "");
    }

    #[test]
    fn code_is_mentioned_and_not_read() {
        assert_eq!(speakable(&Passage::Code, "en"), "There is code here.");
        assert_eq!(speakable(&Passage::Code, "de"), "");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_one_bounded_line_of_text_comes_out(
            text in prop_oneof![".{0,300}", "[-*_`~#>|<\\[\\]()!$%&=+:/@. a-z0-9\\x00-\\x1f°€½≤]{0,300}"],
            language in "(en|de|)",
        ) {
            let spoken = speakable(&Passage::Text(text.clone()), &language);
            prop_assert!(!spoken.chars().any(|it| it.is_control() || "`*[]{}|<>\\".contains(it)), "{spoken:?}");
            prop_assert!(spoken.len() <= 20 * (text.len() + 1));
            prop_assert!(spoken.is_empty() || is_said(&spoken));
        }

        #[test]
        fn no_letter_is_lost_or_doubled(text in "([a-zé.,!? -]|[0-9]){0,200}") {
            let letters = |text: &str| text.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
            let spoken = said_in(&text, "de");
            prop_assert_eq!(letters(&spoken), letters(&text));
        }
    }
}
