//! Markdown that comes character by character, as the text of its blocks.

use super::markdown::{Begins, Context, Fence};

/// Most bytes of a line that are read to see what it begins.
const HEAD: usize = 160;

/// The same of a line that may be the definition of a link.
const DEFINITION: usize = 2048;

/// Words of a line after which it shows what it begins.
const WORDS: usize = 5;

/// Markup that is no text: what a line begins with, and the end it goes on to.
const RAW: [(&str, &str); 4] = [
    ("<!--", "-->"),
    ("<script", "</script>"),
    ("<style", "</style>"),
    ("<pre", "</pre>"),
];

/// A part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A character of a paragraph, whose lines are joined by spaces.
    Character(char),
    /// The number of an item, with the space after it. It ends no sentence.
    Number(String),
    /// A row of a table begins.
    Row,
    /// The end of a block; means nothing if none is open.
    End,
    /// A block of code.
    Code,
}

/// Reads the blocks of a text.
#[derive(Debug)]
pub struct Lines {
    line: Line,
    context: Context,
    /// Whether every line is a row of a table.
    in_table: bool,
    /// Whether the last character was a carriage return.
    after_return: bool,
}

/// The line that the text has come to, and the place in it.
#[derive(Debug)]
enum Line {
    /// At its start, which does not show yet what it is.
    Head(String),
    /// In text that goes on in the next line.
    Text,
    /// In text that ends with the line.
    Block,
    /// In a line that is skipped.
    Skipped,
    /// At the start of a line of code, which may be the fence that ends it.
    Fence(Fence, String),
    /// In a line of code.
    Code(Fence),
    /// In text that is skipped up to an end, with characters that may begin this end.
    Raw(&'static str, String),
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            line: Line::Head(String::new()),
            context: Context::default(),
            in_table: false,
            after_return: false,
        }
    }
}

impl Lines {
    /// Reads on.
    pub fn read(&mut self, character: char, token: &mut impl FnMut(Token)) {
        let is_double = std::mem::replace(&mut self.after_return, character == '\r');
        match character {
            '\n' if is_double => {}
            '\r' => self.step('\n', token),
            it => self.step(it, token),
        }
    }

    fn step(&mut self, character: char, token: &mut impl FnMut(Token)) {
        let is_end = character == '\n';
        match &mut self.line {
            Line::Head(head) => {
                // Of leading white space, more than [`HEAD`] bytes tell nothing new.
                if !is_end && (head.len() < HEAD || !character.is_whitespace()) {
                    head.push(character);
                }
                if is_end || is_telling(head, character) {
                    let head = std::mem::take(head);
                    self.begin(&head, is_end, token);
                }
            }
            Line::Text | Line::Block if is_end => {
                token(match self.line {
                    Line::Block => Token::End,
                    _ => Token::Character(' '),
                });
                self.line = Line::Head(String::new());
            }
            Line::Text | Line::Block => token(Token::Character(character)),
            Line::Skipped if is_end => self.line = Line::Head(String::new()),
            Line::Code(fence) if is_end => self.line = Line::Fence(*fence, String::new()),
            Line::Skipped | Line::Code(_) => {}
            Line::Fence(fence, head) => {
                let (fence, mut head) = (*fence, std::mem::take(head));
                if !is_end {
                    head.push(character);
                }
                self.read_code(fence, head, is_end, token);
            }
            Line::Raw(end, tail) => {
                tail.push(character.to_ascii_lowercase());
                if tail.ends_with(*end) {
                    self.line = Line::Skipped;
                } else if !end.starts_with(tail.as_str()) {
                    // The rest of it may begin the end.
                    let keep = (1..tail.len())
                        .find(|&at| tail.get(at..).is_some_and(|it| end.starts_with(it)));
                    tail.drain(..keep.unwrap_or(tail.len()));
                }
            }
        }
    }

    /// Reads the start of a line of code.
    fn read_code(
        &mut self,
        fence: Fence,
        head: String,
        is_end: bool,
        token: &mut impl FnMut(Token),
    ) {
        let is_quote = |it: char| it == '>' || it.is_whitespace();
        let text = if fence.is_quoted {
            head.trim_start_matches(is_quote)
        } else {
            head.trim_start()
        };
        let marks = text.trim_end();
        let is_fence = marks.chars().all(|it| it == fence.mark);
        let is_unquoted = fence.is_quoted && !head.trim_start().starts_with('>');
        self.line = if is_unquoted && (is_end || !head.trim().is_empty()) {
            // The quotation has ended, and so has the code.
            self.line = Line::Head(String::new());
            for character in head.chars() {
                self.step(character, token);
            }
            if is_end {
                self.step('\n', token);
            }
            return;
        } else if is_end && is_fence && marks.len() >= fence.length {
            Line::Head(String::new())
        } else if is_end {
            Line::Fence(fence, String::new())
        } else if is_fence && head.len() < HEAD {
            Line::Fence(fence, head)
        } else {
            Line::Code(fence)
        };
    }

    /// Begins a line whose head shows what it is.
    fn begin(&mut self, head: &str, is_whole: bool, token: &mut impl FnMut(Token)) {
        let text = head.trim_start();
        let lower = text
            .get(..8.min(text.len()))
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_markup = |start: &str| {
            let rest = lower.strip_prefix(start);
            rest.is_some_and(|rest| start == "<!--" || !rest.starts_with(char::is_alphanumeric))
        };
        if let Some((start, end)) = RAW.iter().find(|(start, _)| is_markup(start)) {
            token(Token::End);
            if *start == "<pre" {
                token(Token::Code);
            }
            self.line = Line::Raw(end, String::new());
            return self.replay(&text[start.len()..], is_whole, token);
        }
        if text.is_empty() {
            self.in_table = false;
        }
        let is_rule =
            is_whole && text.contains('-') && text.contains('|') && is_made_of(text, "|-: ");
        if is_rule {
            self.in_table = true;
            token(Token::End);
            self.line = Line::Skipped;
            return self.replay("", is_whole, token);
        }
        let is_row = text.starts_with('|') || self.in_table && !text.is_empty();
        match self.context.begin(head, is_whole) {
            Begins::Nothing => {
                token(Token::End);
                self.line = Line::Skipped;
                self.replay("", is_whole, token);
            }
            Begins::Code(fence) => {
                token(Token::End);
                token(Token::Code);
                self.line = Line::Code(fence);
                self.replay("", is_whole, token);
            }
            Begins::Text(text) => {
                if text.is_new || is_row {
                    token(Token::End);
                }
                if is_row {
                    token(Token::Row);
                } else if text.after_number > text.at {
                    token(Token::Number(head[text.at..text.after_number].into()));
                }
                self.line = if text.is_line || is_row {
                    Line::Block
                } else {
                    Line::Text
                };
                self.replay(&head[text.after_number..], is_whole, token);
            }
        }
    }

    /// Reads the part of a line that has come already.
    fn replay(&mut self, rest: &str, is_whole: bool, token: &mut impl FnMut(Token)) {
        for character in rest.chars().chain(is_whole.then_some('\n')) {
            self.step(character, token);
        }
    }
}

/// Whether the head of a line shows what the line begins, once `last` has come.
fn is_telling(head: &str, last: char) -> bool {
    let text = head.trim_start();
    if text.starts_with('[')
        && let Some((_, after)) = text.split_once(']')
    {
        // The whole line shows whether it defines the address of a link.
        return !after.is_empty() && (!after.starts_with(':') || head.len() >= DEFINITION);
    }
    if head.len() >= HEAD {
        return true;
    }
    let is_open = ["```", "~~~", "["].iter().any(|it| text.starts_with(it));
    !is_open && shows(text, last)
}

/// Whether enough words of a line have come.
fn shows(text: &str, last: char) -> bool {
    let is_text = |word: &str| word.contains(char::is_alphabetic) && !word.starts_with('[');
    last.is_whitespace()
        && (text.split_whitespace().any(is_text) || text.split_whitespace().count() >= WORDS)
}

fn is_made_of(text: &str, characters: &str) -> bool {
    text.chars().all(|it| characters.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of a text, with `=` for code and `|` before rows.
    fn blocks(text: &str) -> Vec<String> {
        let mut lines = Lines::default();
        let mut blocks = vec![String::new()];
        let mut read = |token| {
            let last = blocks.last_mut().expect("there is one");
            match token {
                Token::Character(it) => last.push(it),
                Token::Number(ref it) => last.push_str(it),
                Token::Row => last.push('|'),
                Token::Code => last.push('='),
                Token::End => {}
            }
            if matches!(token, Token::End | Token::Code) {
                blocks.push(String::new());
            }
        };
        for character in text.chars() {
            lines.read(character, &mut read);
        }
        lines.read('\n', &mut read);
        let blocks = blocks.iter().map(|it| it.trim().to_owned());
        blocks.filter(|it| !it.is_empty()).collect()
    }

    #[test]
    fn blocks_are_what_a_parser_of_markdown_makes_of_the_lines() {
        assert_eq!(
            blocks(
                "# Tea\nBoil some\nwater.\n\n- take a cup,\n  a large one\n- **add** tea\n1. drink it\n2. enjoy\n> so\n---\nEnd"
            ),
            [
                "Tea",
                "Boil some water.",
                "take a cup, a large one",
                "**add** tea",
                "1. drink it",
                "2. enjoy",
                "so",
                "End"
            ]
        );
    }

    #[test]
    fn lines_may_end_as_they_do_elsewhere() {
        assert_eq!(
            blocks("One\r\ntwo\r\n\r\nthree\rfour"),
            ["One two", "three four"]
        );
    }

    #[test]
    fn code_is_one_mark_whatever_is_in_it() {
        assert_eq!(
            blocks("Do:\n```python\n# a\n\n``\n~~~\n```\nDone"),
            ["Do:", "=", "Done"]
        );
        assert_eq!(
            blocks("- a\n  ````\n  ```\n  ````\n- b\n\n<pre>\nx\n</PRE>\ny"),
            ["a", "=", "b", "=", "y"]
        );
        assert_eq!(
            blocks("> a\n> ```\n> b\n> ```\n> c\n\n> ```\n> d\n\ne"),
            ["a", "=", "c", "=", "e"]
        );
        assert_eq!(blocks("```\nnever closed"), ["="]);
    }

    #[test]
    fn comments_scripts_and_definitions_are_no_text() {
        let text = "<!-- a\n--> b -->\nHi\n\n<style>\np { c: d }\n</style>\n[x]: http://y.z 'a b'\n[w]: <u>\nHo";
        assert_eq!(blocks(text), ["Hi", "Ho"]);
    }

    #[test]
    fn rows_of_tables_are_blocks_with_and_without_bars_around_them() {
        assert_eq!(
            blocks(
                "| a | b |\n|---|:-:|\n| 1 | 2 |\n\na | b\n--- | ---\n1 | 2\n3 | 4\n\nso\nit is"
            ),
            [
                "|| a | b |",
                "|| 1 | 2 |",
                "a | b",
                "|1 | 2",
                "|3 | 4",
                "so it is"
            ]
        );
    }
}
