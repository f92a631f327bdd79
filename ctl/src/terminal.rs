//! Standard output and standard error, and what may reach a terminal.
//!
//! What a model, a catalogue or a file says is not to be trusted: an escape sequence could retitle the
//! window or type commands, a bidirectional override make one command look like another. On a
//! terminal such characters are therefore replaced; in a pipe or file everything goes through as it is.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stdout};

use crate::failure::Failure;

/// Standard output. Every write reaches the reader before it returns.
pub struct Output {
    stdout: Stdout,
    terminal: bool,
    line_open: bool,
}

impl Output {
    /// The process's own.
    pub fn new() -> Self {
        Self {
            stdout: tokio::io::stdout(),
            terminal: io::stdout().is_terminal(),
            line_open: false,
        }
    }

    /// Writes a piece of text.
    pub async fn write(&mut self, text: &str) -> Result<(), Failure> {
        let Some(last) = text.chars().last() else {
            return Ok(());
        };
        self.line_open = last != '\n';
        self.send(&printable(text, self.terminal)).await
    }

    /// Writes `text` over the line the cursor is in, on a terminal.
    pub async fn overwrite(&mut self, text: &str) -> Result<(), Failure> {
        self.line_open = true;
        self.send(&format!("\r{}", printable(text, true))).await
    }

    async fn send(&mut self, text: &str) -> Result<(), Failure> {
        let write = async {
            self.stdout.write_all(text.as_bytes()).await?;
            // Only flushing says whether the reader got it.
            self.stdout.flush().await
        };
        write.await.map_err(|error| unwritten(&error))
    }

    /// Ends the line, if one was begun.
    pub async fn end_line(&mut self) -> Result<(), Failure> {
        if self.line_open {
            self.write("\n").await?;
        }
        Ok(())
    }

    /// Writes a line of its own.
    pub async fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(&format!("{text}\n")).await
    }

    /// Writes `value` as JSON, on a line of its own.
    pub async fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value);
        let line = line.map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
        self.line(&line).await
    }
}

/// Writes what the command line's parser has to say: help to standard output, mistakes to standard error.
///
/// # Errors
/// Standard output is closed, full, or nobody reads it any more.
pub fn explain(said: &clap::Error) -> Result<(), Failure> {
    said.print().map_err(|error| unwritten(&error))
}

fn unwritten(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::ReaderLeft;
    }
    Failure::Failed(format!(
        "cannot write to standard output: {error}. Send it somewhere else"
    ))
}

/// A remark on standard error; its further lines are indented, so that none looks like another remark.
/// When nobody reads that either, there is nobody left to tell.
pub fn note(text: &str) {
    let mut stderr = io::stderr().lock();
    let text = indented(text);
    let text = printable(&text, stderr.is_terminal());
    let _ = writeln!(stderr, "{text}");
}

/// `text` on one line, as a field of a table, where another line would look like another row.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let breaks = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\t' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    if text.contains(breaks) {
        let words = text.split(breaks).map(str::trim);
        let words: Vec<_> = words.filter(|words| !words.is_empty()).collect();
        Cow::Owned(words.join(" "))
    } else {
        Cow::Borrowed(text)
    }
}

/// `text` with its further lines indented.
pub fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

/// `text` after `label`, its further lines indented by as much, so that no text can look like two.
pub fn labelled(label: &str, text: &str) -> String {
    let indent = format!("\n{}", " ".repeat(label.len()));
    label.to_owned() + &text.trim_end().replace('\n', &indent)
}

/// `1 command`, `2 commands`: `count` of what `noun` names, whose plural ends in `s`.
pub fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `text` as it may be shown; on a terminal without what [`is_harmful`] there.
fn printable(text: &str, terminal: bool) -> Cow<'_, str> {
    if terminal && text.contains(is_harmful) {
        Cow::Owned(text.replace(is_harmful, "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters but newline and tab; separators of lines and paragraphs; characters that change
/// the direction of others; invisible tags. Joiners and marks of direction are part of many scripts.
fn is_harmful(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{E0000}'..='\u{E007F}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_escape_sequences() {
        let hostile = "a\x1b[2Jb\u{9b}c\r\x07\x7f\nd\te\u{e9}";
        assert_eq!(
            printable(hostile, true),
            "a\u{FFFD}[2Jb\u{FFFD}c\u{FFFD}\u{FFFD}\u{FFFD}\nd\te\u{e9}"
        );
    }

    #[test]
    fn a_terminal_gets_no_text_that_looks_like_another() {
        let hostile = "a\u{202E}b\u{2066}c\u{2028}d\u{E0041}e";
        assert_eq!(
            printable(hostile, true),
            "a\u{FFFD}b\u{FFFD}c\u{FFFD}d\u{FFFD}e"
        );
        let persian = "می\u{200C}خواهم 👩\u{200D}💻";
        assert_eq!(printable(persian, true), persian);
    }

    #[test]
    fn a_pipe_gets_everything_as_it_is() {
        let hostile = "a\x1b[2Jb\r\n\u{202E}";
        assert_eq!(printable(hostile, false), hostile);
    }

    #[test]
    fn a_field_is_on_one_line() {
        assert_eq!(one_line("gemma\r\nproblem  none\n"), "gemma problem  none");
        assert_eq!(one_line("gemma"), "gemma");
    }

    #[test]
    fn an_answer_of_several_lines_keeps_to_its_label() {
        assert_eq!(labelled("heard: ", "a\nb\n"), "heard: a\n       b");
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!(count(1, "command"), "1 command");
        assert_eq!(count(0, "command"), "0 commands");
    }
}
