//! Formulas of LaTeX, as they are read aloud.

use std::iter::Peekable;
use std::str::Chars;

/// Most groups inside one another.
const DEPTH: usize = 16;

/// Commands that are a sign. Others are read by their names, such as `\alpha`.
const SIGNS: [(&str, &str); 20] = [
    ("times", "×"),
    ("cdot", "×"),
    ("div", "÷"),
    ("pm", "±"),
    ("le", "≤"),
    ("leq", "≤"),
    ("ge", "≥"),
    ("geq", "≥"),
    ("ne", "≠"),
    ("neq", "≠"),
    ("approx", "≈"),
    ("to", "→"),
    ("rightarrow", "→"),
    ("Rightarrow", "→"),
    ("infty", "∞"),
    ("lt", "<"),
    ("gt", ">"),
    ("circ", "°"),
    ("ldots", "…"),
    ("dots", "…"),
];

/// Commands that say how something looks.
const LOOKS: [&str; 16] = [
    "left",
    "right",
    "big",
    "Big",
    "quad",
    "qquad",
    "text",
    "textbf",
    "mathrm",
    "mathbf",
    "mathit",
    "mathbb",
    "operatorname",
    "displaystyle",
    "begin",
    "end",
];

/// Whether the text between two dollar signs is a formula. Between two amounts of money it is not.
#[must_use]
pub fn is_likely(text: &str) -> bool {
    let is_sign = |it: char| "\\^_{}=+<>".contains(it);
    !text.starts_with(|it: char| it.is_ascii_digit()) || text.contains(is_sign)
}

/// The reading of a formula.
#[must_use]
pub fn read(formula: &str, is_english: bool) -> String {
    let mut reader = Reader {
        rest: formula.chars().peekable(),
        is_english,
        said: String::with_capacity(formula.len()),
    };
    while reader.rest.peek().is_some() {
        reader.group(0);
        // A brace too many closes nothing.
        reader.rest.next();
    }
    let words: Vec<_> = reader.said.split_whitespace().collect();
    words.join(" ")
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    is_english: bool,
    said: String,
}

impl Reader<'_> {
    /// Reads up to the brace that closes the group, or the end.
    fn group(&mut self, depth: usize) {
        while self.rest.peek().is_some_and(|it| *it != '}') {
            self.item(depth);
        }
    }

    /// Reads what a command or a sign refers to: a group, a command, or a character.
    fn item(&mut self, depth: usize) {
        match self.rest.next() {
            Some('{') if depth < DEPTH => {
                self.group(depth + 1);
                self.rest.next();
            }
            Some('\\') => self.command(depth),
            Some('^') => self.power(depth),
            Some('-') => self.minus(),
            Some('_' | '{' | '}' | '$' | '&' | '~') => self.said.push(' '),
            Some(it) if it.is_alphanumeric() || ".,!'".contains(it) => self.said.push(it),
            Some(it) => self.said.extend([' ', it, ' ']),
            None => {}
        }
    }

    fn command(&mut self, depth: usize) {
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(char::is_ascii_alphabetic) {
            name.push(letter);
        }
        match name.as_str() {
            "" => match self.rest.next() {
                Some('%') => self.said.push('%'),
                _ => self.said.push(' '),
            },
            "frac" | "dfrac" | "tfrac" if depth < DEPTH => {
                let parts = [self.part(depth), self.part(depth)];
                let is_short = parts
                    .iter()
                    .all(|it| it.chars().all(|it| it.is_ascii_digit()));
                let over = if self.is_english && !is_short {
                    " over "
                } else {
                    "/"
                };
                self.said.push(' ');
                self.said.push_str(&parts.join(over));
                self.said.push(' ');
            }
            "sqrt" => {
                self.said.push_str(if self.is_english {
                    " the square root of "
                } else {
                    " √"
                });
            }
            name if LOOKS.contains(&name) => self.said.push(' '),
            name => {
                let sign = SIGNS.iter().find(|(it, _)| *it == name);
                let said = sign.map_or(name, |(_, sign)| sign);
                self.said.extend([" ", said, " "]);
            }
        }
    }

    fn power(&mut self, depth: usize) {
        let power = if depth < DEPTH {
            self.part(depth)
        } else {
            String::new()
        };
        self.said.extend(match power.as_str() {
            "2" if self.is_english => [" squared ", ""],
            "3" if self.is_english => [" cubed ", ""],
            "°" => ["°", ""],
            power if self.is_english => [" to the power of ", power],
            power => ["^", power],
        });
        self.said.push(' ');
    }

    /// Reads `-`: a hyphen inside a word, else a minus.
    fn minus(&mut self) {
        let last = self.said.chars().rev().take(2);
        let is_word = last.filter(|it| it.is_alphabetic()).count() == 2
            && self.rest.peek().is_some_and(|it| it.is_alphabetic());
        self.said.push_str(if is_word { "-" } else { " − " });
    }

    /// The reading of the next item.
    fn part(&mut self, depth: usize) -> String {
        while self.rest.next_if(|it| it.is_whitespace()).is_some() {}
        let said = std::mem::take(&mut self.said);
        self.item(depth + 1);
        std::mem::replace(&mut self.said, said).trim().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_read_as_people_read_them() {
        for (formula, english, other) in [
            (r"\frac{1}{2}", "1/2", "1/2"),
            (r"\frac{a+b}{2}", "a + b over 2", "a + b/2"),
            (r"E = mc^2", "E = mc squared", "E = mc^2"),
            (
                r"x^{n} \leq \sqrt{2} \times \pi",
                "x to the power of n ≤ the square root of 2 × pi",
                "x^n ≤ √2 × pi",
            ),
            (r"\left(a_1\right)", "( a 1 )", "( a 1 )"),
            (r"20\,^\circ\text{C}", "20 ° C", "20 ° C"),
            (r"10^{-3} - x", "10 to the power of − 3 − x", "10^− 3 − x"),
            (r"\text{non-zero}", "non-zero", "non-zero"),
            ("}}{a", "a", "a"),
        ] {
            assert_eq!(read(formula, true), english, "{formula}");
            assert_eq!(read(formula, false), other, "{formula}");
        }
    }

    #[test]
    fn amounts_of_money_are_no_formulas() {
        assert!(!is_likely("5–"));
        for formula in ["x", "2x + 1", r"5\%", "10^3"] {
            assert!(is_likely(formula), "{formula}");
        }
    }

    proptest! {
        #[test]
        fn no_letter_of_what_is_no_command_is_lost(formula in "[a-z0-9{}^_ =+]{0,300}") {
            let letters = |text: &str| text.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&read(&formula, false)), letters(&formula));
        }

        #[test]
        fn whatever_is_between_the_dollar_signs_is_read(formula in ".{0,300}|[\\\\{}^a-z]{0,300}") {
            prop_assert!(read(&formula, true).len() <= 20 * formula.len());
        }
    }
}
