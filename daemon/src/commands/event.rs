//! Events of commands, for their subscribers.

use super::invocation::{Invocation, Origin};

/// An event of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The command begins now.
    Invoked(Invocation, Origin),
    /// The command waits to be confirmed.
    Unconfirmed(Invocation, Origin),
    /// The action of the command has ended.
    Finished(Invocation, Origin),
    /// The command waited to be confirmed and will not be done.
    Dropped(Invocation, Origin),
}
