//! Commands that were said together, and the state of a batch between two steps.

use std::time::{Duration, Instant};

use super::effect::Effect;
use crate::commands::{Epoch, Event, Evidence, Invocation, Origin};

/// Longest time that a command waits to be confirmed, from its question on.
const PATIENCE: Duration = Duration::from_mins(1);

/// Commands that were said together.
#[derive(Debug)]
pub(super) struct Batch {
    pub origin: Origin,
    pub epoch: Epoch,
    pub evidence: Evidence,
    /// The commands in the order they were said. Until its turn comes, a command is `Unconfirmed`.
    pub invocations: Vec<Invocation>,
    /// The index of the command whose turn it is.
    pub turn: usize,
}

/// A batch between two steps, and what it waits for.
#[derive(Debug)]
pub(super) struct Held {
    pub batch: Batch,
    pub state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// The action of the command whose turn it is runs.
    Running,
    /// The action of the command whose turn it is runs, and that command halts.
    Halting {
        /// Whether no command began since, so that another halt would find nothing more to stop.
        is_current: bool,
        /// Whether the command is invoked again when this action has ended.
        again: bool,
    },
    /// The command whose turn it is waits to be confirmed.
    Asking { since: Instant },
}

/// A halt, and the commands that halt as they were then.
#[derive(Debug)]
pub(super) struct Halted {
    pub at: Instant,
    /// The last command number given out.
    pub last_id: u64,
    pub invocations: Vec<Invocation>,
}

impl Held {
    /// The command whose turn it is.
    pub(super) fn current(&self) -> &Invocation {
        &self.batch.invocations[self.batch.turn]
    }

    pub(super) fn runs(&self) -> bool {
        !self.is_asking()
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    pub(super) fn expires(&self) -> Option<Instant> {
        match self.state {
            State::Asking { since } => Some(since + PATIENCE),
            State::Running | State::Halting { .. } => None,
        }
    }

    /// Whether its command can be confirmed at `now`.
    pub(super) fn awaits(&self, now: Instant) -> bool {
        self.expires().is_some_and(|at| now < at)
    }

    /// Notes that a command begins after this halt, so that another halt has to run the action again.
    pub(super) fn outdate(&mut self) {
        if let State::Halting { is_current, .. } = &mut self.state {
            *is_current = false;
        }
    }
}

impl Batch {
    /// Whether its commands may have been misheard.
    pub(super) fn is_doubtful(&self) -> bool {
        self.evidence == Evidence::Doubtful
    }

    /// The number of its first command.
    pub(super) fn number(&self) -> u64 {
        self.invocations.first().map_or(0, |first| first.id)
    }

    pub(super) fn record(&self, index: usize) -> Effect {
        Effect::Record(self.invocations[index].clone(), self.origin.clone())
    }

    /// Tells subscribers that a command that was asked about will not be done.
    pub(super) fn drop_of(&self, index: usize) -> Effect {
        let dropped = self.invocations[index].clone();
        Effect::Tell(Event::Dropped(dropped, self.origin.clone()))
    }

    /// Whether `by` may confirm it: a spoken command anyone, a client's command only the same user.
    pub(super) fn may_be_confirmed(&self, by: &Origin) -> bool {
        matches!(self.origin, Origin::Voice { .. }) || self.origin == *by
    }
}
