//! Text that comes in pieces, cut into what is spoken at a time.
//!
//! Speaking begins with the first clause, because somebody is waiting, and goes on sentence by sentence,
//! because a synthesiser needs a whole one for its melody. The lines of Markdown that end a sentence
//! without a full stop (headings, items of lists, rows of tables) end one here too, and code is left out.

/// Words the first clause has at least. "Yes, …" on its own would sound chopped off.
const FIRST_WORDS: usize = 3;

/// Bytes after which a sentence without an end is cut at the best place there is.
const LONGEST: usize = 400;

/// What stands for a block of code.
pub const CODE: &str = "```";

/// Words that end in a full stop and no sentence, in lower case.
const ABBREVIATIONS: [&str; 27] = [
    "approx.", "bzw.", "ca.", "cf.", "co.", "d.h.", "dr.", "e.g.", "etc.", "fig.", "i.e.", "inc.",
    "jr.", "ltd.", "mr.", "mrs.", "ms.", "no.", "nr.", "prof.", "sr.", "st.", "u.a.", "u.s.",
    "usw.", "vs.", "z.b.",
];

/// What ends a sentence.
const ENDS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];

/// What ends a clause.
const PAUSES: [char; 7] = [',', ';', ':', '—', '–', '，', '、'];

/// Cuts a text that comes in pieces. How it is cut into pieces makes no difference.
#[derive(Debug)]
pub struct Sentences {
    /// What is complete and was not taken.
    complete: Vec<String>,
    /// What was read of the sentence under way.
    sentence: String,
    line: Line,
    /// Whether anything was completed.
    begun: bool,
}

/// Where in which line the text has come to.
#[derive(Debug)]
enum Line {
    /// At its start, which does not show yet what it is.
    Start(String),
    /// In ordinary text, which may go on in the next line.
    Text,
    /// In a line that is a block of its own.
    Block,
    /// In a line that is passed over, inside a block of code or at its fences.
    Skipped {
        /// Whether the next one is.
        code: bool,
    },
    /// At the start of a line of code, which may be the fence that ends it.
    Code(String),
}

/// What the start of a line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    Nothing,
    Text,
    Block,
    Fence,
}

impl Default for Sentences {
    fn default() -> Self {
        Self {
            complete: Vec::new(),
            sentence: String::new(),
            line: Line::Start(String::new()),
            begun: false,
        }
    }
}

impl Sentences {
    /// Reads on, and returns what that completes, in order.
    pub fn push(&mut self, piece: &str) -> Vec<String> {
        for character in piece.chars() {
            self.read(character);
        }
        std::mem::take(&mut self.complete)
    }

    /// Returns what is left at the end of the text.
    pub fn finish(mut self) -> Vec<String> {
        self.read('\n');
        self.complete_sentence();
        self.complete
    }

    fn read(&mut self, character: char) {
        let character = if character == '\r' { '\n' } else { character };
        match &mut self.line {
            Line::Start(head) => {
                if character != '\n' {
                    head.push(character);
                }
                let head = std::mem::take(head);
                match begins(&head, character == '\n') {
                    Some(begins) => self.begin(begins, &head, character == '\n'),
                    None => self.line = Line::Start(head),
                }
            }
            Line::Text | Line::Block => self.read_text(character),
            Line::Skipped { code } if character == '\n' => {
                self.line = if *code {
                    Line::Code(String::new())
                } else {
                    Line::Start(String::new())
                };
            }
            Line::Skipped { .. } => {}
            Line::Code(head) => {
                if character == '\n' {
                    head.clear();
                    return;
                }
                head.push(character);
                if is_fence(head.trim_start()) {
                    self.line = Line::Skipped { code: false };
                } else if !head.trim_start().chars().all(|it| matches!(it, '`' | '~')) {
                    self.line = Line::Skipped { code: true };
                }
            }
        }
    }

    fn begin(&mut self, begins: Begins, head: &str, at_end: bool) {
        match begins {
            Begins::Nothing => {
                self.complete_sentence();
                self.line = Line::Start(String::new());
            }
            Begins::Fence => {
                self.complete_sentence();
                self.sentence.push_str(CODE);
                self.complete_sentence();
                self.line = if at_end {
                    Line::Code(String::new())
                } else {
                    Line::Skipped { code: true }
                };
            }
            Begins::Text | Begins::Block => {
                self.line = Line::Text;
                if begins == Begins::Block {
                    self.complete_sentence();
                    self.line = Line::Block;
                }
                // The mark of a block is no word that could end a sentence.
                let words = head.find(char::is_alphabetic).unwrap_or(head.len());
                let mark = if begins == Begins::Block { words } else { 0 };
                self.sentence.push_str(&head[..mark]);
                for character in head[mark..].chars() {
                    self.read_text(character);
                }
                if at_end {
                    self.read_text('\n');
                }
            }
        }
    }

    fn read_text(&mut self, character: char) {
        if character == '\n' {
            if matches!(self.line, Line::Block) {
                self.complete_sentence();
            }
            self.line = Line::Start(String::new());
        }
        if character.is_whitespace() {
            if self.is_end() {
                self.complete_sentence();
            } else if !self.sentence.ends_with(' ') {
                self.sentence.push(' ');
            }
        } else {
            self.sentence.push(character);
            if matches!(character, '。' | '！' | '？') {
                self.complete_sentence();
            }
        }
        if self.sentence.len() > LONGEST {
            self.cut();
        }
    }

    /// Whether the sentence under way may end before the white space that comes now.
    fn is_end(&self) -> bool {
        let is_closing = |it: char| "\"'”’»)]*_`".contains(it);
        let text = self.sentence.trim_end_matches(is_closing);
        let Some(last) = text.chars().next_back() else {
            return false;
        };
        if ENDS.contains(&last) {
            return last != '.' || !is_abbreviation(text);
        }
        !self.begun
            && PAUSES.contains(&last)
            && self.sentence.split_whitespace().count() >= FIRST_WORDS
    }

    /// Completes the part of a long sentence up to its last clause, or else its last word.
    fn cut(&mut self) {
        let mut words = self.sentence.match_indices(' ').map(|(place, _)| place);
        let mut clauses = words
            .clone()
            .filter(|&place| self.sentence[..place].ends_with(PAUSES));
        let place = clauses
            .next_back()
            .or(words.next_back())
            .filter(|&place| place > 0);
        let rest = match place {
            Some(place) => self.sentence.split_off(place),
            None => String::new(),
        };
        self.complete_sentence();
        self.sentence.push_str(rest.trim_start());
    }

    fn complete_sentence(&mut self) {
        let sentence = std::mem::take(&mut self.sentence);
        let sentence = sentence.trim();
        if !sentence.is_empty() {
            self.begun = true;
            self.complete.push(sentence.into());
        }
    }
}

/// What a line is that starts with `head`; `None` when that does not show yet, and more is to come.
fn begins(head: &str, is_whole: bool) -> Option<Begins> {
    let head = head.trim_start();
    let Some(first) = head.chars().next() else {
        return is_whole.then_some(Begins::Nothing);
    };
    let rest = head.trim_start_matches(first);
    let undecided = |otherwise| is_whole.then_some(otherwise);
    match first {
        '`' | '~' if is_fence(head) => Some(Begins::Fence),
        '`' | '~' | '#' if rest.is_empty() => undecided(Begins::Text),
        '#' if rest.starts_with(' ') => Some(Begins::Block),
        '-' | '*' | '_' | '+' | '=' => {
            if head.chars().all(|it| it == first || it == ' ') {
                undecided(Begins::Nothing)
            } else if head[1..].starts_with(' ') && first != '_' && first != '=' {
                Some(Begins::Block)
            } else {
                Some(Begins::Text)
            }
        }
        '>' | '|' => Some(Begins::Block),
        '0'..='9' => {
            let rest = head.trim_start_matches(|it: char| it.is_ascii_digit());
            match rest.as_bytes() {
                [] | [b'.' | b')'] => undecided(Begins::Text),
                [b'.' | b')', b' ', ..] => Some(Begins::Block),
                _ => Some(Begins::Text),
            }
        }
        _ => Some(Begins::Text),
    }
}

fn is_fence(head: &str) -> bool {
    head.starts_with("```") || head.starts_with("~~~")
}

/// Whether the last word of `text`, which ends in a full stop, is one that usually does.
fn is_abbreviation(text: &str) -> bool {
    let last = text.split_whitespace().next_back().unwrap_or_default();
    let last = last.trim_start_matches(|it: char| !it.is_alphanumeric());
    let mut letters = last.chars();
    let is_initial = matches!((letters.next(), letters.next(), letters.next()),
        (Some(letter), Some('.'), None) if letter.is_uppercase());
    is_initial || ABBREVIATIONS.contains(&last.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let mut sentences = Sentences::default();
        let mut all = sentences.push(text);
        all.extend(sentences.finish());
        all
    }

    #[test]
    fn the_first_clause_comes_first_and_then_sentence_by_sentence() {
        assert_eq!(
            cut(
                "The sky is blue, because air scatters blue light. Red goes straight on, mostly. Yes!"
            ),
            [
                "The sky is blue,",
                "because air scatters blue light.",
                "Red goes straight on, mostly.",
                "Yes!"
            ]
        );
        assert_eq!(cut("Yes, it is."), ["Yes, it is."]);
    }

    #[test]
    fn a_clause_is_complete_before_the_next_word_is() {
        let mut sentences = Sentences::default();
        assert!(sentences.push("The sky is blue,").is_empty());
        assert_eq!(sentences.push(" b"), ["The sky is blue,"]);
        assert_eq!(sentences.push("ecause. "), ["because."]);
        assert!(sentences.finish().is_empty());
    }

    #[test]
    fn abbreviations_initials_numbers_and_addresses_end_no_sentence() {
        for text in [
            "Ask Dr. Smith about it.",
            "Fruit, e.g. apples.",
            "It was J. S. Bach.",
            "It is 3.14 or so.",
            "See example.org for more.",
            "He said \"Go.\"",
        ] {
            let text = format!("Well now then. {text}");
            assert_eq!(cut(&text).len(), 2, "{:?}", cut(&text));
        }
        assert_eq!(cut("He said (well.) Then left.").len(), 2);
    }

    #[test]
    fn lines_of_markdown_are_sentences_and_wrapped_lines_are_not() {
        assert_eq!(
            cut(
                "# Tea\nBoil some\nwater. Then:\n\n- take a cup\n- **add** tea\n1. drink it\n2) enjoy\n> so\n---\nEnd"
            ),
            [
                "# Tea",
                "Boil some water.",
                "Then:",
                "- take a cup",
                "- **add** tea",
                "1. drink it",
                "2) enjoy",
                "> so",
                "End"
            ]
        );
        assert_eq!(
            cut("**Bold** words\n*and* more"),
            ["**Bold** words *and* more"]
        );
    }

    #[test]
    fn code_is_one_mark_whatever_is_in_it() {
        let text = "Do this:\n```python\nprint('Hello. World.')\n# no\n\n``\n```\nThat is all.";
        assert_eq!(cut(text), ["Do this:", CODE, "That is all."]);
        assert_eq!(cut("```\nnever closed"), [CODE]);
    }

    #[test]
    fn endless_sentences_are_cut_between_words() {
        let text = "word ".repeat(400);
        let all = cut(&text);
        assert!(all.iter().all(|it| it.len() <= LONGEST), "{all:?}");
        assert_eq!(all.join(" "), text.trim());
        assert!(
            cut(&"x".repeat(2000))
                .iter()
                .all(|it| it.len() <= LONGEST + 1)
        );
    }

    #[test]
    fn sentences_of_languages_without_spaces_end_too() {
        assert_eq!(
            cut("今日は晴れです。明日は雨です。"),
            ["今日は晴れです。", "明日は雨です。"]
        );
    }

    proptest! {
        #[test]
        fn cutting_the_text_anywhere_gives_the_same_sentences(
            text in "([a-zA-Z.,!?:`*#>|0-9_-]|\n| |```|Dr\\. |é|。){0,80}", place in 0..80_usize,
        ) {
            let place = text.char_indices().map(|(at, _)| at).nth(place).unwrap_or(text.len());
            let mut sentences = Sentences::default();
            let mut pieces = sentences.push(&text[..place]);
            pieces.extend(sentences.push(&text[place..]));
            pieces.extend(sentences.finish());
            prop_assert_eq!(pieces, cut(&text));
        }

        #[test]
        fn no_word_is_lost_or_doubled(text in "([a-zA-Z.,!?: *#>|0-9_-]|\n|é|。){0,200}") {
            let words = |text: &str| text.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(words(&cut(&text).concat()), words(&text));
        }
    }
}
