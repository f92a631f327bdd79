//! Which bus the daemon is on.

/// Which bus to serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The system bus: one daemon for the machine.
    System,
    /// The session bus: a desktop, or a test.
    Session,
}

impl Which {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Session => "session",
        }
    }
}
