//! What a task tells its user: a few calm lines on standard error, coloured on a terminal.

use std::io::{IsTerminal, stderr};

/// A step that begins.
pub fn step(text: &str) {
    eprintln!("{} {text}", paint("1;34", "▶"));
}

/// Something that went as it should.
pub fn success(text: &str) {
    eprintln!("{} {text}", paint("1;32", "✔"));
}

/// Something that went well but should be known.
pub fn warning(text: &str) {
    eprintln!("{} {text}", paint("1;33", "!"));
}

/// A result, under its name.
pub fn result(name: &str, value: &str) {
    eprintln!("  {} {value}", paint("2", &format!("{name:<12}")));
}

/// Results under each other, each under its name.
pub fn results(rows: &[(String, String)]) {
    let lengths = rows.iter().map(|(name, _)| name.chars().count());
    let width = lengths.max().unwrap_or_default();
    for (name, value) in rows {
        result(&format!("{name:<width$}"), value);
    }
}

/// Why a task failed, with everything that led to it.
pub fn failure(error: &anyhow::Error) {
    eprintln!("{} {error:#}", paint("1;31", "✘"));
}

fn paint(style: &str, text: &str) -> String {
    if stderr().is_terminal() {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.into()
    }
}
