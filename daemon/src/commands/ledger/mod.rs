//! The state of every command: whether it begins, waits, is asked about or ends, and why.
//!
//! The ledger is a pure state machine. Each step takes the time, changes the state and returns [`Effect`]s. It waits
//! for nothing, reads no clock and touches nothing outside. The executor carries out the effects under the lock that
//! guards this state, so the decisions of a step hold until the next one.
//!
//! Commands that were said together are a [`Batch`]. The turn passes to the next command when the action of the one
//! before has succeeded. The ledger decides whether a command may begin when its turn comes, by the catalogue in force
//! at that time.

mod batch;
mod effect;
mod halting;
mod rates;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Instant;

use super::{
    Arrival, Call, Command, CommandError, Epoch, Event, Evidence, Force, Invocation, Origin, Status,
};
pub(super) use effect::Effect;

use batch::{Batch, Halted, Held, State};
use rates::Rates;

/// Most batches that wait to be confirmed. One more displaces the oldest one of the person who has the most.
const MOST_ASKED: usize = 16;

/// Most batches whose actions run at a time, in all and for one person. Commands that halt do not count.
const MOST_RUNNING: usize = 32;
const MOST_RUNNING_EACH: usize = 16;

/// The decision about the command whose turn it is.
enum Decision {
    Begin,
    Ask,
    Refuse(Status),
}

/// The state of all commands.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last_id: u64,
    epoch: Epoch,
    /// When a halt began this epoch; `None`: there was no halt yet.
    epoch_began: Option<Instant>,
    force: Option<Arc<Force>>,
    /// Whether the daemon ends, so that no command begins any more.
    is_closed: bool,
    rates: Rates,
    /// The batches that run or wait to be confirmed, by the number of their first command.
    held: BTreeMap<u64, Held>,
    /// The last spoken command that was asked about; the next utterance decides about it.
    asked: Option<u64>,
    /// The last halt.
    halted: Option<Halted>,
}

/// The effects of the step under way.
type Effects = Vec<Effect>;

impl Ledger {
    /// The arrival of a request or an utterance that came `at` this time, which may be before the last halt.
    pub(super) fn arrival(&self, at: Instant) -> Arrival {
        let is_over = self.epoch_began.is_some_and(|began| at < began);
        let epoch = if is_over {
            self.epoch.before()
        } else {
            self.epoch
        };
        Arrival { epoch, at }
    }

    /// Whether no action runs.
    pub(super) fn is_idle(&self) -> bool {
        !self.held.values().any(Held::runs)
    }

    /// Numbers `calls` and begins none of them.
    pub(super) fn rehearse(&mut self, calls: Vec<Call>) -> Vec<Invocation> {
        self.number(calls, Status::DryRun)
    }

    /// Puts another catalogue into force, or none. Drops the commands that wait to be confirmed and no longer fit.
    pub(super) fn put(&mut self, force: Option<Arc<Force>>, effects: &mut Effects) {
        self.force = force;
        self.halted = None;
        self.drop_where(
            |ledger, held| ledger.command(&held.current().call).is_none(),
            Status::NotAllowed,
            effects,
        );
    }

    /// Takes in `calls` that arrived at `arrival`. Those before the last one that halts are cancelled, because that one
    /// may have been meant to take them back. Returns the number of their batch.
    ///
    /// # Errors
    /// [`CommandError::Crowded`] when too many run already and none of `calls` halts.
    pub(super) fn enter(
        &mut self,
        calls: Vec<Call>,
        origin: &Origin,
        arrival: Arrival,
        evidence: Evidence,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<u64, CommandError> {
        let last_halt = calls.iter().rposition(|call| self.halts(call));
        let mut epoch = arrival.epoch;
        if last_halt.is_some() {
            let was_current = epoch == self.epoch;
            self.cancel_all(now, effects);
            // Commands after the halt in the same batch were not meant to be halted.
            if was_current {
                epoch = self.epoch;
            }
        } else {
            self.refuse_crowds(origin)?;
        }
        let mut batch = Batch {
            origin: origin.clone(),
            epoch,
            evidence,
            invocations: self.number(calls, Status::Unconfirmed),
            turn: 0,
        };
        self.drop_pending(
            &mut batch,
            0..last_halt.unwrap_or(0),
            Status::Cancelled,
            effects,
        );
        let number = batch.number();
        self.advance(batch, false, now, effects);
        Ok(number)
    }

    /// Carries out the command that waits under `id`, and the rest of its batch. Returns the number of the batch.
    ///
    /// # Errors
    /// When no command waits under `id` that `by` may confirm. When too many run already; then it goes on waiting.
    pub(super) fn confirm(
        &mut self,
        id: u64,
        by: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<u64, CommandError> {
        let nothing = || CommandError::NothingToConfirm(id);
        let number = self.waiting(id, by, now).ok_or_else(nothing)?;
        self.refuse_crowds(by)?;
        let Held { mut batch, .. } = self.held.remove(&number).ok_or_else(nothing)?;
        batch.evidence = Evidence::Certain;
        self.advance(batch, true, now, effects);
        Ok(number)
    }

    /// Drops the command that waits under `id`, and the rest of its batch; returns them. `None`: no command waits under
    /// `id` that `by` may refuse.
    pub(super) fn refuse(
        &mut self,
        id: u64,
        by: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) -> Option<Vec<Invocation>> {
        let number = self.waiting(id, by, now)?;
        Some(self.drop_asked(number, Status::Refused, effects))
    }

    /// Drops the commands that waited to be confirmed for too long.
    pub(super) fn expire(&mut self, now: Instant, effects: &mut Effects) {
        let is_expired = |_: &Self, held: &Held| held.expires().is_some_and(|at| at <= now);
        self.drop_where(is_expired, Status::Expired, effects);
    }

    /// The earliest expiry of a command that waits to be confirmed.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.held.values().filter_map(Held::expires).min()
    }

    /// Whether an utterance that arrives now may be a yes or a no.
    pub(super) fn has_asked(&self, now: Instant) -> bool {
        let mut asking = self.held.values().filter(|held| held.awaits(now));
        asking.any(|held| Some(held.current().id) == self.asked)
    }

    /// Takes the command that an utterance confirms or refuses, if it is a yes or a no. Whatever the utterance is,
    /// later ones do not decide about that command. An utterance from before the question is no reply to it, and takes
    /// nothing.
    pub(super) fn take_asked(&mut self, arrival: Arrival) -> Option<u64> {
        let asked = self.asked?;
        let since = self.held.values().find_map(|held| match held.state {
            State::Asking { since } if held.current().id == asked => Some(since),
            _ => None,
        });
        if since.is_some_and(|since| arrival.at < since) {
            return None;
        }
        self.asked = None;
        since.map(|_| asked)
    }

    /// Cancels the batch of this number because its caller has left: its running action is to end, unless the command
    /// halts, and the rest does not begin. A question stays, because it can still be answered.
    pub(super) fn abandon(&mut self, number: u64, effects: &mut Effects) {
        if self.held.get(&number).is_some_and(Held::runs) {
            self.cancel(number, effects);
        }
    }

    /// Notes that the action of the command `id` has ended, with this status and this result.
    pub(super) fn ended(
        &mut self,
        id: u64,
        (status, result): (Status, String),
        now: Instant,
        effects: &mut Effects,
    ) {
        let running = |(_, held): &(&u64, &Held)| held.runs() && held.current().id == id;
        let number = self.held.iter().find(running).map(|(number, _)| *number);
        let Some(Held { mut batch, state }) = number.and_then(|it| self.held.remove(&it)) else {
            return;
        };
        let invocation = &mut batch.invocations[batch.turn];
        (invocation.status, invocation.result) = (status, result);
        let call = invocation.call.clone();
        // Another halt that soon is told how this one ended, and does not begin it again.
        if let Some(halted) = &mut self.halted
            && let Some(of_halt) = halted.invocations.iter_mut().find(|it| it.id == id)
        {
            *of_halt = invocation.clone();
        }
        let finished = Event::Finished(invocation.clone(), batch.origin.clone());
        effects.push(Effect::Tell(finished));
        if let State::Halting { again: true, .. } = state {
            self.begin_halt(call, &batch.origin, now, effects);
        }
        batch.turn += 1;
        if status != Status::Done {
            self.drop_pending(&mut batch, .., Status::Skipped, effects);
        }
        self.advance(batch, false, now, effects);
    }

    /// Passes the turn on until an action runs, a question is asked, or nothing is left.
    fn advance(
        &mut self,
        mut batch: Batch,
        mut confirmed: bool,
        now: Instant,
        effects: &mut Effects,
    ) {
        let number = batch.number();
        while let Some(invocation) = batch.invocations.get(batch.turn) {
            if invocation.status != Status::Unconfirmed {
                batch.turn += 1;
                continue;
            }
            match self.decide(invocation, &batch, confirmed, now) {
                Decision::Begin => match self.begin(&mut batch, now, effects) {
                    Some(state) => {
                        self.held.insert(number, Held { batch, state });
                        return;
                    }
                    None => batch.turn += 1,
                },
                Decision::Ask => return self.ask(batch, now, effects),
                Decision::Refuse(status) => {
                    batch.invocations[batch.turn].status = status;
                    effects.push(if confirmed {
                        batch.drop_of(batch.turn)
                    } else {
                        batch.record(batch.turn)
                    });
                    batch.turn += 1;
                    let rest = match status {
                        Status::Cancelled => Status::Cancelled,
                        _ => Status::Skipped,
                    };
                    self.drop_pending(&mut batch, .., rest, effects);
                }
            }
            confirmed = false;
        }
        effects.push(Effect::Settle(number, batch.invocations));
    }

    fn decide(
        &self,
        invocation: &Invocation,
        batch: &Batch,
        confirmed: bool,
        now: Instant,
    ) -> Decision {
        if self.is_closed {
            return Decision::Refuse(Status::Cancelled);
        }
        let Some(command) = self.command(&invocation.call) else {
            return Decision::Refuse(Status::NotAllowed);
        };
        let name = &invocation.call.name;
        if !command.halts() && batch.epoch < self.epoch {
            Decision::Refuse(Status::Cancelled)
        } else if !command.is_for(&batch.origin) {
            Decision::Refuse(Status::NotAllowed)
        } else if self.rates.is_too_soon(name, command, now) {
            Decision::Refuse(Status::TooSoon)
        } else if batch.is_doubtful() && !command.halts() || command.is_confirmed() && !confirmed {
            Decision::Ask
        } else {
            Decision::Begin
        }
    }

    /// Begins the command whose turn it is. Returns the state of its action, if that now runs.
    fn begin(&mut self, batch: &mut Batch, now: Instant, effects: &mut Effects) -> Option<State> {
        let force = self.force.clone()?;
        let call = &batch.invocations[batch.turn].call;
        let command = force.catalogue.command(call)?;
        if command.halts()
            && let Some(running) = self.join_halt(call, false)
        {
            batch.invocations[batch.turn].status = running.status;
            return None;
        }
        self.rates.count(&call.name, command, now);
        if !command.halts() {
            self.held.values_mut().for_each(Held::outdate);
        }
        let state = command.action.is_some().then_some(if command.halts() {
            State::Halting {
                is_current: true,
                again: false,
            }
        } else {
            State::Running
        });
        let invocation = &mut batch.invocations[batch.turn];
        invocation.status = match state {
            Some(_) => Status::Running,
            None => Status::Done,
        };
        let (invocation, origin) = (invocation.clone(), batch.origin.clone());
        let invoked = Event::Invoked(invocation.clone(), origin.clone());
        effects.push(Effect::Tell(invoked));
        if state.is_some() {
            effects.push(Effect::Run(force, invocation, origin));
        }
        state
    }

    /// Asks about the command whose turn it is.
    fn ask(&mut self, batch: Batch, now: Instant, effects: &mut Effects) {
        self.displace(&batch.origin, effects);
        let number = batch.number();
        let asked = batch.invocations[batch.turn].clone();
        if matches!(batch.origin, Origin::Voice { .. }) {
            self.asked = Some(asked.id);
        }
        let told = Event::Unconfirmed(asked, batch.origin.clone());
        effects.push(Effect::Tell(told));
        effects.push(Effect::Settle(number, batch.invocations.clone()));
        let state = State::Asking { since: now };
        self.held.insert(number, Held { batch, state });
    }

    /// Makes room for a question to this person: drops a question of the person who has the most.
    fn displace(&mut self, origin: &Origin, effects: &mut Effects) {
        let asking = || self.held.iter().filter(|(_, held)| held.is_asking());
        if asking().count() < MOST_ASKED {
            return;
        }
        let share = |of: &Origin| {
            let theirs = asking().filter(|(_, held)| held.batch.origin.is_same_person(of));
            theirs.count() + usize::from(of.is_same_person(origin))
        };
        // The lowest number is the oldest question of that person.
        let most =
            asking().max_by_key(|(number, held)| (share(&held.batch.origin), Reverse(**number)));
        if let Some(number) = most.map(|(number, _)| *number) {
            self.drop_asked(number, Status::Displaced, effects);
        }
    }

    /// Drops the batches that wait to be confirmed and for which `is_dropped` is true.
    fn drop_where(
        &mut self,
        is_dropped: impl Fn(&Self, &Held) -> bool,
        status: Status,
        effects: &mut Effects,
    ) {
        let held = self.held.iter();
        let dropped = held.filter(|(_, held)| held.is_asking() && is_dropped(self, held));
        let dropped: Vec<_> = dropped.map(|(number, _)| *number).collect();
        for number in dropped {
            self.drop_asked(number, status, effects);
        }
    }

    /// Drops a batch that waits to be confirmed; returns the commands that were not done.
    fn drop_asked(
        &mut self,
        number: u64,
        status: Status,
        effects: &mut Effects,
    ) -> Vec<Invocation> {
        let Some(Held { mut batch, .. }) = self.held.remove(&number) else {
            return Vec::new();
        };
        let asked = batch.turn;
        batch.invocations[asked].status = status;
        effects.push(batch.drop_of(asked));
        self.drop_pending(&mut batch, .., status, effects);
        batch.invocations.split_off(asked)
    }

    /// Gives `status` to the commands in `range` whose turn has not come, except those that halt.
    fn drop_pending(
        &self,
        batch: &mut Batch,
        range: impl RangeBounds<usize>,
        status: Status,
        effects: &mut Effects,
    ) {
        for index in 0..batch.invocations.len() {
            let invocation = &mut batch.invocations[index];
            let is_pending = invocation.status == Status::Unconfirmed && range.contains(&index);
            if is_pending && !self.halts(&invocation.call) {
                invocation.status = status;
                effects.push(batch.record(index));
            }
        }
    }

    fn refuse_crowds(&self, origin: &Origin) -> Result<(), CommandError> {
        let running = self.held.values();
        let running = running.filter(|held| matches!(held.state, State::Running));
        let (mut all, mut theirs) = (0, 0);
        for held in running {
            all += 1;
            theirs += usize::from(held.batch.origin.is_same_person(origin));
        }
        if all >= MOST_RUNNING || theirs >= MOST_RUNNING_EACH {
            return Err(CommandError::Crowded { running: all });
        }
        Ok(())
    }

    /// The number of the batch whose command `id` waits and may be confirmed by `by`.
    fn waiting(&self, id: u64, by: &Origin, now: Instant) -> Option<u64> {
        let mut held = self.held.iter();
        let waiting = held.find(|(_, held)| {
            held.awaits(now) && held.current().id == id && held.batch.may_be_confirmed(by)
        });
        waiting.map(|(number, _)| *number)
    }

    /// The command of `call`, if the call fits the catalogue in force, defaults included.
    fn command(&self, call: &Call) -> Option<&Command> {
        let command = self.force.as_ref()?.catalogue.command(call)?;
        let fitting = command.fit(call.arguments.clone()).ok()?;
        (fitting == call.arguments).then_some(command)
    }

    fn halts(&self, call: &Call) -> bool {
        let force = self.force.as_ref();
        force.is_some_and(|force| force.catalogue.halts(call))
    }

    fn number(&mut self, calls: Vec<Call>, status: Status) -> Vec<Invocation> {
        let calls = calls.into_iter();
        calls
            .map(|call| {
                self.last_id += 1;
                Invocation::new(self.last_id, call, status)
            })
            .collect()
    }
}

impl Command {
    fn is_for(&self, origin: &Origin) -> bool {
        match (&self.users, origin) {
            (None, _) => true,
            (Some(users), Origin::Text { user }) => users.contains(user),
            (Some(_), Origin::Voice { .. } | Origin::Daemon) => false,
        }
    }
}
