//! Messages of a task to its user: a few lines on standard error, coloured on a terminal.

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use anyhow::Result;

/// Announces a step.
pub fn step(text: &str) {
    eprintln!("{} {text}", paint("1;34", "▶"));
}

/// Reports success.
pub fn success(text: &str) {
    eprintln!("{} {text}", paint("1;32", "✔"));
}

/// Reports something that is no failure but should be known.
pub fn warning(text: &str) {
    eprintln!("{} {text}", paint("1;33", "!"));
}

/// Prints a result with its name.
pub fn result(name: &str, value: &str) {
    eprintln!("  {} {value}", paint("2", &format!("{name:<12}")));
}

/// Prints results with their names, aligned.
pub fn results(rows: &[(String, String)]) {
    let lengths = rows.iter().map(|(name, _)| name.chars().count());
    let width = lengths.max().unwrap_or_default();
    for (name, value) in rows {
        result(&format!("{name:<width$}"), value);
    }
}

/// Reports the failure of a task, with all its causes.
pub fn failure(error: &anyhow::Error) {
    eprintln!("{} {error:#}", paint("1;31", "✘"));
}

/// The exit code of a task that has ended so. A failure is reported.
#[must_use]
pub fn exit_code(ended: &Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure(error);
            ExitCode::FAILURE
        }
    }
}

fn paint(style: &str, text: &str) -> String {
    if stderr().is_terminal() {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.into()
    }
}
