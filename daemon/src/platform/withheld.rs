//! Content of an error that must not be logged.

use std::fmt;

/// Words of a person, a model or a program. `Debug` shows only their length, and `Display` is not implemented, so they
/// cannot get into a log. They are for the client that asked.
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
