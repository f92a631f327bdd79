//! Whether speech becomes an utterance.

use std::time::Instant;

use crate::config::{Config, Mode};

/// Whether speech becomes an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    No,
    Yes,
    /// If it begins before then.
    Until(Instant),
}

/// Whether speech becomes an utterance without being asked for.
pub fn unasked(config: &Config) -> Listening {
    if config.voice.mode == Mode::Always {
        Listening::Yes
    } else {
        Listening::No
    }
}
