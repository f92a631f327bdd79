//! Halting: what it cancels, and which commands it invokes.

use std::time::{Duration, Instant};

use super::batch::{Batch, Halted, Held, State};
use super::effect::Effect;
use super::{Effects, Ledger};
use crate::commands::{Call, Evidence, Invocation, Origin, Status};

/// Most actions of one halting command that run at a time. At this limit, another halt runs the command again when one
/// of them has ended.
pub(super) const MOST_HALTING: usize = 4;

/// Time after a halt within which another one is the same halt, if no command was numbered since. So its subscribers get
/// at most ten signals a second for each command that halts, however many halts come and however soon they fail.
pub(super) const SAME_HALT: Duration = Duration::from_millis(100);

impl Ledger {
    /// Cancels all commands that wait or run, and invokes every command that halts, all at once. A halting command
    /// whose action already runs, with no other command begun since, is not run a second time beside it. Within
    /// [`SAME_HALT`] of the last halt none is.
    pub(in crate::commands) fn halt(
        &mut self,
        origin: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) -> Vec<Invocation> {
        self.cancel_all(now, effects);
        let calls = match &self.force {
            Some(force) if !self.is_closed => force.catalogue.halting(),
            _ => Vec::new(),
        };
        let is_same = |it: &&Halted| it.last_id == self.last_id && now < it.at + SAME_HALT;
        if let Some(same) = self.halted.as_ref().filter(is_same) {
            return same.invocations.clone();
        }
        let mut halted = Vec::new();
        for call in calls {
            halted.push(match self.join_halt(&call, true) {
                Some(running) => running,
                None => self.begin_halt(call, origin, now, effects),
            });
        }
        self.halted = Some(Halted {
            at: now,
            last_id: self.last_id,
            invocations: halted.clone(),
        });
        halted
    }

    /// Halts for the last time. No command begins after this halt's own.
    pub(in crate::commands) fn close(
        &mut self,
        origin: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.halt(origin, now, effects);
        self.is_closed = true;
    }

    /// Begins another epoch: batches that wait are dropped, running actions are to end unless their commands halt, and
    /// the rest of their batches does not begin.
    pub(in crate::commands) fn cancel_all(&mut self, now: Instant, effects: &mut Effects) {
        self.epoch = self.epoch.next();
        self.epoch_began = Some(now);
        self.drop_where(|_, _| true, Status::Cancelled, effects);
        let running: Vec<_> = self.held.keys().copied().collect();
        for number in running {
            self.cancel(number, effects);
        }
    }

    /// Ends the running action of a batch, unless its command halts, and drops the rest of the batch.
    pub(super) fn cancel(&mut self, number: u64, effects: &mut Effects) {
        let Some(mut held) = self.held.remove(&number) else {
            return;
        };
        if matches!(held.state, State::Running) {
            effects.push(Effect::Cancel(held.current().id));
        }
        self.drop_pending(&mut held.batch, .., Status::Cancelled, effects);
        self.held.insert(number, held);
    }

    /// The same halting command that already runs, if it serves for `call` too. It does if `is_enough` and no command
    /// began since, or if [`MOST_HALTING`] run; if a command began since, it is to run again when it has ended.
    pub(super) fn join_halt(&mut self, call: &Call, is_enough: bool) -> Option<Invocation> {
        let running = self.held.values_mut();
        let mut running: Vec<_> = running
            .filter(|held| {
                matches!(held.state, State::Halting { .. }) && held.current().call == *call
            })
            .collect();
        let is_full = running.len() >= MOST_HALTING;
        let last = running.last_mut()?;
        let State::Halting { is_current, again } = &mut last.state else {
            return None;
        };
        let serves = is_enough && *is_current;
        if !is_full && !serves {
            return None;
        }
        *again |= !*is_current;
        Some(last.current().clone())
    }

    pub(super) fn begin_halt(
        &mut self,
        call: Call,
        origin: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) -> Invocation {
        let mut batch = Batch {
            origin: origin.clone(),
            epoch: self.epoch,
            evidence: Evidence::Certain,
            invocations: self.number(vec![call], Status::Unconfirmed),
            turn: 0,
        };
        let state = self.begin(&mut batch, now, effects);
        let invocation = batch.invocations[0].clone();
        if let Some(state) = state {
            self.held.insert(batch.number(), Held { batch, state });
        }
        invocation
    }
}
