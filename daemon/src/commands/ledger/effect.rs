//! The effects of a step of the ledger, which the executor carries out.

use std::sync::Arc;

use crate::commands::{Event, Force, Invocation, Origin};

/// An effect of a step of the ledger, which the executor carries out.
#[derive(Debug)]
pub enum Effect {
    /// Subscribers and the journal get the event.
    Tell(Event),
    /// The journal gets the command.
    Record(Invocation, Origin),
    /// The action of this command begins; `Ledger::ended` must follow.
    Run(Arc<Force>, Invocation, Origin),
    /// The action of the command of this number is to end.
    Cancel(u64),
    /// The batch of this number does not go on by itself any more: it has ended, or it waits to be confirmed.
    Settle(u64, Vec<Invocation>),
}
