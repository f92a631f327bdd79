//! Why an action failed.

use std::time::Duration;

use crate::commands::Status;
use crate::platform::withheld::Withheld;

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// It reported a failure, or could not begin.
    #[error("{why}")]
    Failed {
        /// The reason.
        why: String,
        /// The action's output, or the value that does not fit.
        said: Withheld,
    },
    /// It took longer than its timeout.
    #[error("it took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// A halt came while it ran.
    #[error("it was halted")]
    Halted,
}

impl ActionError {
    /// A failure without output.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed {
            why: why.into(),
            said: Withheld::default(),
        }
    }

    /// The reason with the output, for the person who asked for the command.
    pub fn told(&self) -> String {
        match self {
            Self::Failed { why, said } if !said.reveal().is_empty() => {
                format!("{why}: {}", said.reveal())
            }
            error => error.to_string(),
        }
    }

    /// The status of the command.
    pub fn status(&self) -> Status {
        match self {
            Self::Failed { .. } => Status::Failed,
            Self::TimedOut(_) => Status::TimedOut,
            Self::Halted => Status::Cancelled,
        }
    }
}
