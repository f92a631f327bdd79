//! Arithmetic and comparisons as people type them: `2*3`, `7*8=56`, `2^10`, `x >= 3`.
//!
//! They get the signs of mathematics, which [`super::english`] reads where they stand alone, and which synthesisers of
//! other languages know. What may be something else, such as emphasis, a date or a name, stays what it is.
//!
//! Each character is looked at a few times, however long the text is.

use super::english;

/// Characters that signs consist of.
const SIGNS: &str = "*×÷^=!≠<>≤≥+-−/";

/// Signs of programming languages, and what they are in mathematics.
const TYPED: [(&str, &str); 8] = [
    ("*", "×"),
    ("**", "^"),
    ("==", "="),
    ("===", "="),
    ("!=", "≠"),
    ("!==", "≠"),
    ("<=", "≤"),
    (">=", "≥"),
];

/// Signs that the minus of a number may follow.
const BEFORE_MINUS: [&str; 9] = ["×", "÷", "^", "=", "≠", "<", ">", "≤", "≥"];

/// Characters of an amount beside its digits and their marks.
const AMOUNT_SIGNS: &str = "%°$€£¥₹";

/// The Markdown with signs for those of its stars that are arithmetic, which otherwise would be taken for emphasis.
#[must_use]
pub fn without_stars(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    // Whether emphasis and strong emphasis have begun.
    let mut open = [false; 2];
    let mut rest = source;
    while let Some(at) = rest.find('*') {
        let (before, after) = rest.split_at(at);
        text.push_str(before);
        rest = after.trim_start_matches('*');
        let stars = &after[..after.len() - rest.len()];
        if let Some(sign) = star(&text, stars, rest, open.contains(&true)) {
            text.push(sign);
            continue;
        }
        let is_space = |it: Option<char>| it.is_none_or(char::is_whitespace);
        let is_alone = is_space(text.chars().next_back()) && is_space(rest.chars().next());
        if !is_alone && !text.ends_with('\\') {
            open[0] ^= stars.len() % 2 == 1;
            open[1] ^= stars.len() > 1;
        }
        text.push_str(stars);
    }
    text.push_str(rest);
    text
}

/// The sign that these stars between two texts are; `None` if they may be emphasis.
fn star(before: &str, stars: &str, after: &str, is_open: bool) -> Option<char> {
    let (left, right) = (before.trim_end(), after.trim_start());
    let (last, first) = (left.chars().next_back()?, right.chars().next()?);
    let is_digit = (last.is_ascii_digit(), first.is_ascii_digit());
    let is_arithmetic = match (left.len() < before.len(), right.len() < after.len()) {
        _ if is_digit == (false, false) => false,
        (true, true) => {
            let (left, right) = (left.rsplit(char::is_whitespace), right.split_whitespace());
            let mut words = left.take(1).chain(right.take(1));
            words.all(is_term) && ends_operand(last) && begins_operand(first)
        }
        (false, false) if is_digit == (true, true) => stars == "*" || !is_open,
        (false, false) => {
            !is_open
                && last.is_alphanumeric()
                && first.is_alphanumeric()
                && !are_closed(stars, right)
        }
        _ => false,
    };
    let sign = match stars {
        "*" => '×',
        "**" => '^',
        _ => return None,
    };
    is_arithmetic.then_some(sign)
}

/// Whether these stars end emphasis somewhere in `text`.
fn are_closed(stars: &str, text: &str) -> bool {
    text.match_indices(stars).any(|(at, _)| {
        let after = text[at..].trim_start_matches('*');
        !text[..at].ends_with(char::is_whitespace) && !after.starts_with(char::is_alphanumeric)
    })
}

/// The text with its arithmetic in signs of mathematics. In English each sign becomes a word of its own; in other
/// languages signs inside words stay there.
#[must_use]
pub fn mathematical(text: &str, is_english: bool) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let leads = leads_to_result(&words);
    let mut read = String::with_capacity(text.len());
    let mut is_joined = true;
    for (at, word) in words.iter().copied().enumerate() {
        let before = at.checked_sub(1).map_or("", |it| words[it]);
        let after = words.get(at + 1).copied().unwrap_or_default();
        let is_equation = leads[at] || is_difference(before, &words[at..]);
        let joint = match word {
            "-" | "–" if is_english && !is_equation && is_range(before, after) => Some("–"),
            "^" | "**" if !is_english && are_operands(before, after) => Some("^"),
            _ => None,
        };
        if !is_joined && joint.is_none() {
            read.push(' ');
        }
        // A comparison without a left side is joined to the number.
        let is_prefix = at == 0 && matches!(word, "<=" | ">=") && is_number(after);
        is_joined = joint.is_some() || is_prefix;
        if let Some(joint) = joint {
            read.push_str(joint);
        } else if is_operator(word) {
            read.push_str(alone(before, word, after, is_equation));
        } else if is_address(word) || !word.contains(is_sign) {
            read.push_str(word);
        } else {
            let is_equation = leads[at] && !has_result(word);
            spread(word, is_equation, is_english, &mut read);
        }
    }
    read
}

/// For each word, whether an expression leads from it to `=` and a number.
fn leads_to_result(words: &[&str]) -> Vec<bool> {
    let mut leads = vec![false; words.len()];
    for (at, word) in words.iter().copied().enumerate().rev() {
        let Some(next) = words.get(at + 1).copied() else {
            leads[at] = has_result(word);
            continue;
        };
        let is_term = is_operator(word) || is_term(word) && word.ends_with(ends_operand);
        leads[at] = match typed(word) {
            "=" => is_number(next),
            _ if has_result(word) => true,
            _ => is_term && leads[at + 1] && is_operator(word) != is_operator(next),
        };
    }
    leads
}

/// Whether the word has `=` and a number in it.
fn has_result(word: &str) -> bool {
    let sides = word.split_once('=');
    sides.is_some_and(|(left, right)| left.ends_with(ends_operand) && is_number(right))
}

/// Whether these words, which follow `high`, are those of `10 - 3 is 7`.
fn is_difference(high: &str, words: &[&str]) -> bool {
    let ["-" | "–", low, "is", result, ..] = words else {
        return false;
    };
    let value = |text: &str| text.replace(',', "").parse::<f64>().ok();
    let is_falling = |(high, low): (f64, f64)| high > low;
    is_number(result) && value(high).zip(value(low)).is_some_and(is_falling)
}

/// Whether people would say "to" between the two.
fn is_range(low: &str, high: &str) -> bool {
    let is_around = |it: char| !it.is_alphanumeric() && !AMOUNT_SIGNS.contains(it);
    let (low, high) = (
        low.trim_start_matches(is_around),
        high.trim_end_matches(is_around),
    );
    let is_part = |it: char| it.is_ascii_digit() || ".,:".contains(it) || AMOUNT_SIGNS.contains(it);
    let is_amount =
        |text: &str| text.contains(|it: char| it.is_ascii_digit()) && text.chars().all(is_part);
    let number = |text: &str| text.replace(|it| AMOUNT_SIGNS.contains(it), "");
    is_amount(low)
        && is_amount(high)
        && !low.ends_with(['.', ',', ':'])
        && english::may_be_range(&number(low), &number(high))
}

/// The reading of a sign that stands alone between these words.
fn alone<'a>(before: &str, sign: &'a str, after: &str, is_equation: bool) -> &'a str {
    let is_between = are_operands(before, after);
    match typed(sign) {
        "-" | "–" if is_equation && is_between => "−",
        "/" if is_equation && is_between => "÷",
        "^" if is_between => "to the power of",
        "×" if sign == "*" && !(is_between && (is_number(before) || is_number(after))) => sign,
        it => it,
    }
}

/// Reads a word with signs in it. `is_equation`: an expression leads from it to a result in a later word.
fn spread(word: &str, is_equation: bool, is_english: bool, read: &mut String) {
    let parts = parts(word);
    let is_result = |it: &[(&str, &str)]| typed(unary(it[0].1).0) == "=" && is_number(it[1].0);
    let result = parts.windows(2).rposition(is_result);
    let slashes = parts.iter().filter(|(_, sign)| *sign == "/").count();
    let mut skipped = 0;
    for (at, &(operand, sign)) in parts.iter().enumerate() {
        read.push_str(&operand[skipped..]);
        skipped = 0;
        let right = parts.get(at + 1).map_or("", |(it, _)| it);
        let (first, minus) = unary(sign);
        // Dates have slashes, and so have fractions that people have words for.
        let is_quotient = || slashes == 1 && !english::is_fraction(&format!("{operand}/{right}"));
        let is_equation = is_english
            && (is_equation || result.is_some_and(|it| at < it))
            && (first != "/" || is_quotient());
        let is_prefix = at == 0 && matches!(sign, "<=" | ">=") && operand.is_empty();
        match meant(operand, first, right, is_equation) {
            None if is_prefix && is_number(right) => read.push_str(typed(sign)),
            None => read.push_str(sign),
            Some(sign) if !is_english => read.extend([sign, minus]),
            Some("^") => {
                let power = right.trim_end_matches(|it: char| !it.is_alphanumeric());
                let name = match power {
                    "2" if minus.is_empty() => " squared",
                    "3" if minus.is_empty() => " cubed",
                    _ => " to the power of ",
                };
                read.extend([name, minus]);
                skipped = usize::from(!name.ends_with(' '));
            }
            Some(sign) => read.extend([" ", sign, " ", minus]),
        }
    }
}

/// The parts of a word between its signs, each with the signs behind it. The last has none.
fn parts(word: &str) -> Vec<(&str, &str)> {
    let mut parts = Vec::new();
    let mut rest = word;
    loop {
        let at = rest.find(is_sign).unwrap_or(rest.len());
        let (operand, after) = rest.split_at(at);
        rest = after.trim_start_matches(is_sign);
        let sign = &after[..after.len() - rest.len()];
        parts.push((operand, sign));
        if sign.is_empty() {
            return parts;
        }
    }
}

/// The sign of mathematics that `sign` means between these parts of a word, if any.
fn meant<'a>(left: &str, sign: &'a str, right: &str, is_equation: bool) -> Option<&'a str> {
    if !are_operands(left, right) {
        return None;
    }
    let has_number = is_number(left) || is_number(right);
    let are_terms = has_number && is_term(left) && is_term(right);
    let sign = typed(sign);
    let is_meant = match sign {
        "=" | "≠" | "≤" | "≥" => true,
        "×" => has_number,
        "<" | ">" | "÷" | "−" => are_terms,
        // `1e+5` is a number.
        "+" => are_terms && !left.ends_with(['e', 'E']),
        "^" => is_term(right) || right.starts_with('('),
        "-" if are_terms && is_equation => return Some("−"),
        "/" if are_terms && is_equation => return Some("÷"),
        _ => false,
    };
    is_meant.then_some(sign)
}

/// The sign, and the minus of the number behind it.
fn unary(sign: &str) -> (&str, &str) {
    match sign.strip_suffix('-') {
        Some(first) if BEFORE_MINUS.contains(&typed(first)) => (first, "-"),
        _ => (sign, ""),
    }
}

/// The sign as it is in mathematics.
fn typed(sign: &str) -> &str {
    let known = TYPED.iter().find(|(it, _)| *it == sign);
    known.map_or(sign, |(_, sign)| sign)
}

fn is_sign(character: char) -> bool {
    SIGNS.contains(character)
}

/// Whether the word consists of signs.
fn is_operator(word: &str) -> bool {
    word.chars().all(|it| is_sign(it) || it == '–')
}

fn are_operands(left: &str, right: &str) -> bool {
    left.ends_with(ends_operand) && right.starts_with(begins_operand)
}

fn begins_operand(character: char) -> bool {
    character.is_alphanumeric() || "([$€£¥₹√-−".contains(character)
}

fn ends_operand(character: char) -> bool {
    character.is_alphanumeric() || ")]%°".contains(character)
}

/// Whether it is a number, perhaps with signs before and a unit behind.
fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches(|it: char| !it.is_alphanumeric());
    text.starts_with(|it: char| it.is_ascii_digit())
}

/// Whether it is a number or a letter that stands for one.
fn is_term(text: &str) -> bool {
    let mut letters = text.chars().filter(|it| it.is_alphanumeric());
    let is_letter = letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none();
    is_letter || is_number(text) || text.trim_matches(|it: char| !it.is_alphanumeric()) == "pi"
}

/// Whether it is the address of a page or a mailbox. Those are read as a whole.
fn is_address(word: &str) -> bool {
    ["://", "www.", "@"].iter().any(|it| word.contains(it))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_between_numbers_are_signs_and_those_around_words_are_emphasis() {
        for (source, text) in [
            ("2*3 is 6", "2×3 is 6"),
            ("2*3*4, 2 * 3 * 4", "2×3×4, 2 × 3 × 4"),
            ("2**10 or x**2", "2^10 or x^2"),
            ("2*x + 3*y, x*2, 2 * pi", "2×x + 3×y, x×2, 2 × pi"),
        ] {
            assert_eq!(without_stars(source), text, "{source}");
        }
        for source in [
            "a *word*, **two** words, ***three***",
            "**2** or *3*, **5**3, *3*x, 5*kg*",
            "**plan b**2, *item 2*a",
            "5* of it, 5 *big* ones, a * b",
            "Room 5 * Breakfast included",
            "1**two words** of it",
            "2\\*3",
            "*",
            "",
        ] {
            assert_eq!(without_stars(source), source);
        }
    }

    #[test]
    fn signs_of_arithmetic_become_those_of_mathematics() {
        for (text, english, other) in [
            ("7×8=56", "7 × 8 = 56", "7×8=56"),
            ("x*2 a * 2", "x × 2 a × 2", "x×2 a × 2"),
            ("2+2=4", "2 + 2 = 4", "2+2=4"),
            (
                "2^10 x^2, 10^-3",
                "2 to the power of 10 x squared, 10 to the power of -3",
                "2^10 x^2, 10^-3",
            ),
            ("2 ^ 10", "2 to the power of 10", "2^10"),
            ("x >= 3 or x<=4", "x ≥ 3 or x ≤ 4", "x ≥ 3 or x≤4"),
            ("a != b, a == b", "a ≠ b, a = b", "a ≠ b, a = b"),
            (">=3 of >= 4", "≥3 of ≥ 4", "≥3 of ≥ 4"),
            (">= 3", "≥3", "≥3"),
            ("(x<5)", "(x < 5)", "(x<5)"),
            ("x=-5", "x = -5", "x=-5"),
            ("12/4=3", "12 ÷ 4 = 3", "12/4=3"),
            ("12/4 = 3", "12 ÷ 4 = 3", "12/4 = 3"),
            ("12 / 4 = 3", "12 ÷ 4 = 3", "12 ÷ 4 = 3"),
            ("3/4=0.75", "3/4 = 0.75", "3/4=0.75"),
            ("10-3=7", "10 − 3 = 7", "10-3=7"),
            ("10 - 3 - 2 = 5", "10 − 3 − 2 = 5", "10 − 3 − 2 = 5"),
            ("10 - 3 is 7", "10 − 3 is 7", "10 − 3 is 7"),
            ("(3 - 5) people", "(3–5) people", "(3 - 5) people"),
            ("3 - 5 a=2", "3–5 a = 2", "3 - 5 a=2"),
            ("$5 - $10", "$5–$10", "$5 - $10"),
        ] {
            assert_eq!(mathematical(text, true), english, "{text}");
            assert_eq!(mathematical(text, false), other, "{text}");
        }
    }

    #[test]
    fn dates_names_arrows_and_addresses_are_no_arithmetic() {
        for text in [
            "12/05/1999 or 1999-05-12, 24/7, 8/10",
            "a -> b => c <- d --> e",
            "https://e.org/a?b=5 ada+1@e.org",
            "==so== C++11 well-known and/or UTC+2 1e+5",
            "555 - 1234 and one - two",
            "What is 10 - 3? It is 10 - 3, so 7. Call 0171 - 1234567",
            "Vec<5> Hello! <3 -5 ->",
        ] {
            assert_eq!(mathematical(text, true), text);
        }
    }

    proptest! {
        #[test]
        fn no_letter_or_digit_is_lost_or_doubled(text in "[-*^=!<>+/ a-c0-9.,$%–]{0,200}") {
            let letters = |text: &str| text.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&without_stars(&text)), letters(&text));
            prop_assert_eq!(letters(&mathematical(&text, false)), letters(&text));
        }
    }
}
