//! Standard output and standard error, and cleaning of text for a terminal.
//!
//! Text of a model, a catalogue or a file is not trusted: an escape sequence could retitle the window
//! or type commands, and a bidirectional override make one command look like another. A terminal
//! therefore gets text cleaned by [`gemmad_api::text`]; a pipe or a file gets it unchanged.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use gemmad_api::text;
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stdout};

use crate::failure::Failure;

/// Standard output. Every write reaches the reader before it returns.
pub struct Output {
    stdout: Stdout,
    /// Cleans the text; only on a terminal.
    cleaner: Option<text::Stream>,
    line_open: bool,
}

impl Output {
    /// Standard output of this process.
    pub fn new() -> Self {
        Self {
            stdout: tokio::io::stdout(),
            cleaner: io::stdout().is_terminal().then(text::Stream::default),
            line_open: false,
        }
    }

    /// Writes a piece of text.
    pub async fn write(&mut self, text: &str) -> Result<(), Failure> {
        let Some(last) = text.chars().last() else {
            return Ok(());
        };
        self.line_open = last != '\n';
        let shown = match &mut self.cleaner {
            Some(cleaner) => Cow::Owned(cleaner.push(text)),
            None => Cow::Borrowed(text),
        };
        self.send(&shown).await
    }

    /// Writes `text` over the current line, on a terminal.
    pub async fn overwrite(&mut self, text: &str) -> Result<(), Failure> {
        self.line_open = true;
        self.send(&format!("\r{}", text::lines(text, usize::MAX)))
            .await
    }

    async fn send(&mut self, text: &str) -> Result<(), Failure> {
        let write = async {
            self.stdout.write_all(text.as_bytes()).await?;
            // Only flushing reports whether the write succeeded.
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

/// Ends an interrupted line on a terminal, so that the next output begins on its own line.
impl Drop for Output {
    fn drop(&mut self) {
        if self.line_open && self.cleaner.is_some() {
            let _ = writeln!(io::stdout());
        }
    }
}

/// Prints the message of the command line's parser: help to standard output, mistakes to standard error.
///
/// # Errors
/// Standard output is closed or full, or its reader has left.
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

/// Writes a remark to standard error. Its further lines are indented, so that none looks like another
/// remark. A failure to write is ignored, because there is nowhere else to report it.
pub fn note(text: &str) {
    let mut stderr = io::stderr().lock();
    let text = indented(text);
    let shown = if stderr.is_terminal() {
        text::lines(&text, usize::MAX)
    } else {
        Cow::Borrowed(text.as_str())
    };
    let _ = writeln!(stderr, "{shown}");
}

/// `text` on one line, for a field of a table, where a further line would look like another row.
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

/// `text` after `label`, with its further lines indented by the label's width, so that one text cannot look like two.
pub fn labelled(label: &str, text: &str) -> String {
    label.to_owned() + &indented_by(label, text.trim_end())
}

/// `text` with its further lines indented by the width of `label`.
pub fn indented_by(label: &str, text: &str) -> String {
    let indent = format!("\n{}", " ".repeat(label.len()));
    text.replace('\n', &indent)
}

/// `1 command`, `2 commands`: `count` with a `noun` whose plural ends in `s`.
pub fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

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
