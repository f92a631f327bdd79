//! Content inside an error, which may not stand in a log.

use std::fmt;

/// What a person, a model or a program said. Neither `Display` nor `Debug` shows it, so no line of a log can; it is for
/// the client that asked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Withheld(String);

impl Withheld {
    /// The text, for the client that asked.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Withheld {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Withheld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({} bytes)", self.0.len())
    }
}
