//! When a request or an utterance arrived, which decides whether a halt was meant for it.

use std::time::Instant;

/// The time between two halts. Once an epoch is over, no command that arrived in it may begin, unless it halts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// The moment at which a request reached the daemon, or the speech of an utterance began. It is taken before any other
/// processing, and kept until a command begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub(super) epoch: Epoch,
    pub(super) at: Instant,
}

impl Epoch {
    /// The epoch that a halt begins.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The epoch that the last halt has ended.
    pub(super) fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}
