//! Which message bus the daemon is on, and the way there.

use std::fmt;

use zbus::Connection;

use crate::failure::Failure;

/// A message bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The machine's.
    System,
    /// The user's.
    Session,
}

impl Bus {
    /// A connection to it.
    pub async fn connect(self) -> Result<Connection, Failure> {
        match self {
            Self::System => Connection::system().await,
            Self::Session => Connection::session().await,
        }
        .map_err(Failure::NoBus)
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system bus",
            Self::Session => "session bus",
        })
    }
}
