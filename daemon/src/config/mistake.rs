//! Mistakes in files that people write in TOML, with their places.

use std::fmt;
use std::ops::Range;

use gemmad_text as text;
use serde::Deserialize;

/// Most characters of a key and of a message. Both may quote the file, whose author may be another user.
const LONGEST: usize = 400;

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The path of the key, such as `commands.NAME`; empty when the file is not TOML.
    key: String,
    /// What is wrong.
    message: String,
}

impl Mistake {
    /// A mistake at `span` of `text`, or, without a span, in its first line.
    #[must_use]
    pub fn new(text: &str, span: Option<Range<usize>>, key: &str, message: &str) -> Self {
        let before = span.and_then(|span| text.get(..span.start));
        Self {
            line: 1 + before.map_or(0, |before| before.matches('\n').count()),
            key: text::line(key, LONGEST).into_owned(),
            message: text::line(message, LONGEST).into_owned(),
        }
    }
}

impl fmt::Display for Mistake {
    /// `LINE: KEY: MESSAGE`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, key, message } = self;
        match key.as_str() {
            "" => write!(out, "{line}: {message}"),
            key => write!(out, "{line}: {key}: {message}"),
        }
    }
}

/// Reads the TOML `text`.
///
/// # Errors
/// The first mistake in it.
pub fn read_toml<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Mistake> {
    let mistake =
        |error: &toml::de::Error, key: &str| Mistake::new(text, error.span(), key, error.message());
    let document = toml::Deserializer::parse(text).map_err(|error| mistake(&error, ""))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        // The path of the whole file.
        let key = if path == "." { "" } else { &path };
        mistake(error.inner(), key)
    })
}
