//! A sentence as somebody would read it out: without Markdown, addresses, emojis and signs for words.
//!
//! What comes from a model or a client is hostile. Whatever it is, what leaves here is one line of text
//! without control characters, bounded in length.

use super::sentences::CODE;

/// Most characters of one sentence that are spoken.
const LONGEST: usize = 600;

/// Signs after a number and what they mean, for one and for many.
const UNITS: [(&str, &str, &str); 35] = [
    ("%", "percent", "percent"),
    ("°", "degree", "degrees"),
    ("°C", "degree Celsius", "degrees Celsius"),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit"),
    ("mm", "millimetre", "millimetres"),
    ("cm", "centimetre", "centimetres"),
    ("m", "metre", "metres"),
    ("km", "kilometre", "kilometres"),
    ("ft", "foot", "feet"),
    ("mg", "milligram", "milligrams"),
    ("g", "gram", "grams"),
    ("kg", "kilogram", "kilograms"),
    ("lb", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("ml", "millilitre", "millilitres"),
    ("l", "litre", "litres"),
    ("L", "litre", "litres"),
    ("m/s", "metre per second", "metres per second"),
    ("km/h", "kilometre per hour", "kilometres per hour"),
    ("mph", "mile per hour", "miles per hour"),
    ("ms", "millisecond", "milliseconds"),
    ("s", "second", "seconds"),
    ("min", "minute", "minutes"),
    ("h", "hour", "hours"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("V", "volt", "volts"),
    ("W", "watt", "watts"),
    ("kW", "kilowatt", "kilowatts"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("kB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
];

/// Signs before an amount, for one and for many.
const CURRENCIES: [(char, &str, &str); 4] = [
    ('$', "dollar", "dollars"),
    ('€', "euro", "euros"),
    ('£', "pound", "pounds"),
    ('¥', "yen", "yen"),
];

/// What a person would say who reads `sentence` out; empty when there is nothing to say. Signs become
/// words only where `language` is English (`en`, `en-us`, …); of others the synthesiser knows more.
#[must_use]
pub fn speakable(sentence: &str, language: &str) -> String {
    let is_english = language.starts_with("en");
    if sentence == CODE {
        return if is_english {
            "There is code here.".into()
        } else {
            String::new()
        };
    }
    let text: String = sentence.chars().filter_map(readable).collect();
    let text = without_links(without_marks(text.trim()));
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut spoken = String::with_capacity(text.len());
    for (place, word) in words.iter().enumerate() {
        let before = place.checked_sub(1).map(|place| words[place]);
        let number = before.filter(|it| it.ends_with(|it: char| it.is_ascii_digit()));
        let said = read_out(word, number, is_english);
        if said.contains(char::is_alphanumeric) {
            if !spoken.is_empty() {
                spoken.push(' ');
            }
            spoken.push_str(&said);
        } else if matches!(*word, "-" | "–" | "—") && spoken.ends_with(char::is_alphanumeric) {
            spoken.push(',');
        }
    }
    let mut text: String = spoken.chars().take(LONGEST).collect();
    if !text.contains(char::is_alphanumeric) {
        return String::new();
    }
    if text.ends_with(char::is_alphanumeric) {
        text.push('.');
    }
    text
}

/// The character as it may be read; `None` for what is no text.
fn readable(character: char) -> Option<char> {
    let is_text = !matches!(character,
        // Marks that join, direct or vary what stands beside them, and characters of nobody.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffd}' | '\u{e0000}'..
        // Emojis, dingbats and other pictures (Unicode's blocks of symbols).
        | '\u{2300}'..='\u{23ff}' | '\u{2500}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1faff}');
    let shown = if character.is_control() {
        ' '
    } else {
        character
    };
    is_text.then_some(shown)
}

/// The line without what makes it a heading, an item, a quotation or a row.
fn without_marks(mut line: &str) -> String {
    loop {
        let marks = ["> ", "- ", "* ", "+ ", "[ ] ", "[x] ", "[X] "];
        let found = marks.iter().find_map(|mark| line.strip_prefix(mark));
        let heading = || {
            let rest = line.trim_start_matches('#');
            (rest.len() < line.len() && rest.starts_with(' ')).then_some(rest)
        };
        let quoted = || line.strip_prefix('>');
        match found.or_else(heading).or_else(quoted) {
            Some(rest) => line = rest.trim_start(),
            None => break,
        }
    }
    let Some(row) = line.strip_prefix('|') else {
        return line.into();
    };
    let cells = row.split('|').map(str::trim);
    let cells: Vec<_> = cells
        .filter(|cell| cell.contains(char::is_alphanumeric))
        .collect();
    cells.join(", ")
}

/// The text with the words of links and pictures in place of them, and without tags.
fn without_links(text: String) -> String {
    if !text.contains(['[', '<']) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(place) = rest.find(['[', '<']) {
        let (before, from) = rest.split_at(place);
        plain.push_str(before.strip_suffix('!').unwrap_or(before));
        rest = &from[1..];
        if from.starts_with('[') {
            // Its words stay where they are; only the address is passed over.
            if let Some((words, after)) = rest.split_once("](")
                && !words.contains('[')
                && let Some((_, after)) = after.split_once(')')
            {
                plain.push_str(words);
                rest = after;
            }
        } else if rest.starts_with(|it: char| it.is_alphabetic() || it == '/')
            && let Some((tag, after)) = rest.split_once('>')
            && !tag.contains('<')
        {
            if tag.contains("://") || tag.contains('@') {
                plain.push_str(tag);
            } else {
                plain.push(' ');
            }
            rest = after;
        } else {
            plain.push('<');
        }
    }
    plain.push_str(rest);
    plain
}

/// One word as it is said; `before` is the number that stands before it, if one does.
fn read_out(word: &str, before: Option<&str>, is_english: bool) -> String {
    let is_around = |it: char| "*_`\"'“”‘’«»()[]{}".contains(it);
    let word = word.trim_matches(is_around).trim_start_matches("~~");
    let (core, end) = split_end(word);
    let core = core.trim_end_matches("~~").trim_matches(is_around);
    let said = address(core, is_english)
        .or_else(|| is_english.then(|| in_words(core, before)).flatten())
        .unwrap_or_else(|| core.into());
    let said: String = said.chars().filter_map(letter).collect();
    let said: Vec<_> = said.split_whitespace().collect();
    said.join(" ") + end
}

/// A word and the punctuation that ends it.
fn split_end(word: &str) -> (&str, &str) {
    let core =
        word.trim_end_matches(|it: char| ".,;:!?…".contains(it) || "*_`\"'”’)]".contains(it));
    let end = word[core.len()..].trim_start_matches(|it: char| "*_`\"'”’)]".contains(it));
    let first = end.chars().next().map_or(0, char::len_utf8);
    (core, &end[..first])
}

/// A character inside a word; marks between letters part them.
fn letter(character: char) -> Option<char> {
    match character {
        '_' | '|' | '\\' | '/' | '=' | '^' | '<' | '>' => Some(' '),
        '*' | '`' | '~' | '#' | '[' | ']' | '{' | '}' => None,
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

/// A word with signs in words of English; `None` when it has none.
fn in_words(word: &str, before: Option<&str>) -> Option<String> {
    match word {
        "&" => return Some("and".into()),
        "+" => return Some("plus".into()),
        "=" => return Some("equals".into()),
        "*" | "×" => return Some("times".into()),
        "÷" => return Some("divided by".into()),
        "<" => return Some("is less than".into()),
        ">" => return Some("is more than".into()),
        "→" | "->" | "=>" => return Some("to".into()),
        _ => {}
    }
    if let Some(number) = before {
        return unit(number, word).map(Into::into);
    }
    let is_number = |text: &str| text.starts_with(|it: char| it.is_ascii_digit());
    let mut signs = word.chars();
    let sign = signs.next()?;
    let rest = signs.as_str();
    if is_number(rest) {
        let (number, _) = number_and_rest(rest);
        let amount = CURRENCIES.iter().find(|(it, ..)| *it == sign);
        if let Some((_, one, many)) = amount {
            let name = if number == "1" { one } else { many };
            return (number.len() == rest.len()).then(|| format!("{number} {name}"));
        }
        let said = || in_words(rest, None).unwrap_or_else(|| rest.to_owned());
        match sign {
            '-' | '−' => return Some(format!("minus {}", said())),
            '~' | '≈' => return Some(format!("about {}", said())),
            '#' => return Some(format!("number {}", said())),
            '<' => return Some(format!("less than {}", said())),
            '>' => return Some(format!("more than {}", said())),
            _ => {}
        }
    }
    if !is_number(word) {
        return None;
    }
    let (number, rest) = number_and_rest(word);
    if let Some(until) = rest.strip_prefix('–').filter(|it| is_number(it)) {
        let until = in_words(until, None).unwrap_or_else(|| until.into());
        return Some(format!("{number} to {until}"));
    }
    unit(number, rest).map(|unit| format!("{number} {unit}"))
}

/// The number that `text` begins with, and what follows it.
fn number_and_rest(text: &str) -> (&str, &str) {
    let is_part = |it: char| it.is_ascii_digit() || it == '.' || it == ',' || it == ':';
    let end = text.find(|it: char| !is_part(it)).unwrap_or(text.len());
    text.split_at(end)
}

fn unit(number: &str, sign: &str) -> Option<&'static str> {
    let (_, one, many) = UNITS.iter().find(|(it, ..)| *it == sign)?;
    Some(if number == "1" { one } else { many })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> String {
        speakable(text, "en-us")
    }

    #[test]
    fn marks_of_markdown_are_not_read() {
        for (text, spoken) in [
            ("## The **best** tea", "The best tea."),
            ("- [x] *add* `tea_leaves`", "add tea leaves."),
            ("> It was ~~not~~ **so.**", "It was not so."),
            ("1. Boil water", "1. Boil water."),
            ("| Tea | 3 min | **hot** |", "Tea, 3 minutes, hot."),
            ("|---|:-:|", ""),
            ("Use snake_case and <br> tags", "Use snake case and tags."),
            ("She said \"yes!\" (twice).", "She said yes! twice."),
        ] {
            assert_eq!(said(text), spoken, "{text}");
        }
    }

    #[test]
    fn links_and_addresses_are_said_as_people_say_them() {
        for (text, spoken) in [
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
        ] {
            assert_eq!(said(text), spoken, "{text}");
        }
    }

    #[test]
    fn signs_and_units_are_words_in_english_and_left_alone_elsewhere() {
        for (text, spoken) in [
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
        ] {
            assert_eq!(said(text), spoken, "{text}");
        }
        assert_eq!(
            speakable("Es sind 21 °C & **kalt**", "de"),
            "Es sind 21 °C kalt."
        );
    }

    #[test]
    fn emojis_and_controls_are_not_read() {
        assert_eq!(said("Hello 👋🏽, wor\u{200b}ld ❤️!"), "Hello world.");
        assert_eq!(said("a\u{1b}[31mb\0c\u{202e}d"), "a 31mb cd.");
        assert_eq!(said("🎉🎉🎉"), "");
    }

    #[test]
    fn code_is_mentioned_and_not_read() {
        assert_eq!(said(CODE), "There is code here.");
        assert_eq!(speakable(CODE, "de"), "");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_one_bounded_line_of_text_comes_out(
            text in prop_oneof![".{0,300}", "[-*_`~#>|<\\[\\]()!$%&=+:/@. a-z0-9\\x00-\\x1f°€]{0,300}"],
            language in "(en|de|)",
        ) {
            let spoken = speakable(&text, &language);
            prop_assert!(!spoken.chars().any(|it| it.is_control() || "`*[]{}|<>\\".contains(it)), "{spoken:?}");
            prop_assert!(spoken.chars().count() <= LONGEST + 1);
            prop_assert!(spoken.is_empty() || spoken.contains(char::is_alphanumeric));
        }
    }
}
