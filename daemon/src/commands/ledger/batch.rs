//! Commands that were said together, and why a batch of them goes no further now.

use std::time::{Duration, Instant};

use super::Effect;
use crate::commands::{Epoch, Event, Invocation, Origin};

/// How long a command waits to be confirmed, from the moment it is asked about.
const PATIENCE: Duration = Duration::from_mins(1);

/// Commands that were said together.
#[derive(Debug)]
pub(super) struct Batch {
    pub origin: Origin,
    pub epoch: Epoch,
    /// In the order they were said. One whose turn has not come is `Unconfirmed`.
    pub invocations: Vec<Invocation>,
    /// Whose turn it is.
    pub turn: usize,
}

/// A batch that neither ended nor is under way through a step, and why.
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
        /// Whether nothing began since, so that another halt would find nothing more to stop.
        is_current: bool,
        /// Whether the command is invoked again when this has ended.
        again: bool,
    },
    /// The command whose turn it is waits to be confirmed.
    Asking { since: Instant },
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

    /// Whether it can be confirmed.
    pub(super) fn awaits(&self, now: Instant) -> bool {
        self.expires().is_some_and(|at| now < at)
    }

    /// Another halt has to run the command again: something begins after this one.
    pub(super) fn outdate(&mut self) {
        if let State::Halting { is_current, .. } = &mut self.state {
            *is_current = false;
        }
    }
}

impl Batch {
    /// The number of its first command.
    pub(super) fn number(&self) -> u64 {
        self.invocations.first().map_or(0, |first| first.id)
    }

    pub(super) fn record(&self, index: usize) -> Effect {
        Effect::Record(self.invocations[index].clone(), self.origin.clone())
    }

    /// Listeners are told that it will not be done although it was asked about.
    pub(super) fn drop_of(&self, index: usize) -> Effect {
        let dropped = self.invocations[index].clone();
        Effect::Tell(Event::Dropped(dropped, self.origin.clone()))
    }

    /// What a person wrote, only they confirm; what was said, everybody who may talk to the daemon.
    pub(super) fn may_be_confirmed(&self, by: &Origin) -> bool {
        matches!(self.origin, Origin::Voice { .. }) || self.origin == *by
    }
}
