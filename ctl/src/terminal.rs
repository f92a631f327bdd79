//! Standard output and standard error, and what may reach a terminal.
//!
//! What a model writes is not to be trusted: an escape sequence in an answer could retitle the
//! window, hide text or type commands. On a terminal control characters are therefore replaced; in a
//! pipe or file everything goes through as it is.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

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
}

fn unwritten(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::ReaderLeft;
    }
    Failure::Failed(format!(
        "cannot write to standard output: {error}. Send it somewhere else"
    ))
}

/// A line on standard error. When nobody reads that either, there is nobody left to tell.
pub fn note(text: &str) {
    let mut stderr = io::stderr().lock();
    let text = printable(text, stderr.is_terminal());
    let _ = writeln!(stderr, "{text}");
}

/// `text` as it may be shown: on a terminal without control characters but newline and tab.
fn printable(text: &str, terminal: bool) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    if terminal && text.contains(harmful) {
        Cow::Owned(text.replace(harmful, "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
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
    fn a_pipe_gets_everything_as_it_is() {
        let hostile = "a\x1b[2Jb\r\n";
        assert_eq!(printable(hostile, false), hostile);
    }
}
