//! What becomes of every command: which begins now, which waits, which is asked about, which ends and why.
//!
//! A pure state machine. Each step takes the time, changes the state and returns [`Effect`]s; it waits for
//! nothing, reads no clock and touches nothing outside. The executor carries the effects out under the lock
//! that guards this state, so what a step decided holds until the next one.
//!
//! Commands that were said together are a [`Batch`]. The turn passes from one to the next when the action of
//! the one before has ended well. Whether a command may begin is decided when its turn comes, by the catalogue
//! that is in force then.

mod batch;
mod rates;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gemmad_api::InvocationStatus as Status;

use super::{Arrival, Call, Command, CommandError, Epoch, Event, Force, Invocation, Origin};
use batch::{Batch, Held, State};
use rates::Rates;

/// Most batches that wait to be confirmed. One more displaces the oldest of the person who has the most.
const MOST_ASKED: usize = 16;

/// Most batches whose actions run at a time, in all and for one person. Halting needs none of them.
const MOST_RUNNING: usize = 32;
const MOST_RUNNING_EACH: usize = 16;

/// Most actions of one halting command that run at a time. A halt that comes while as many run is served
/// when one of them has ended.
const MOST_HALTING: usize = 4;

/// A halt so soon after another one, with nothing numbered since and nothing failed, is the same halt: whoever listens
/// to its commands is told of no more than ten a second, however many come.
const SAME_HALT: Duration = Duration::from_millis(100);

/// What a step of the ledger has done to the world outside.
#[derive(Debug)]
pub(super) enum Effect {
    /// Listeners and the journal are told.
    Tell(Event),
    /// The journal is told.
    Record(Invocation, Origin),
    /// The action of this command begins; [`Ledger::ended`] must follow.
    Run(Arc<Force>, Invocation, Origin),
    /// The action of the command of this number is to end.
    Cancel(u64),
    /// Nothing of this batch goes on by itself any more: all has ended, or it waits to be confirmed.
    Settle(u64, Vec<Invocation>),
}

/// What comes of a command whose turn it is.
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
    force: Option<Arc<Force>>,
    /// Nothing is taken any more, because the daemon ends.
    is_closed: bool,
    rates: Rates,
    /// Those that run or wait to be confirmed, by the number of their first command.
    held: BTreeMap<u64, Held>,
    /// The command that was said last and waits; the next utterance decides about it.
    asked: Option<u64>,
    /// The last halt, unless one of its commands has failed.
    halted: Option<Halted>,
}

/// A halt, and the commands that halt as they were then.
#[derive(Debug)]
struct Halted {
    at: Instant,
    /// The last number that was given.
    last_id: u64,
    invocations: Vec<Invocation>,
}

/// The effects of the step under way.
type Effects = Vec<Effect>;

impl Ledger {
    /// The epoch now.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether no action runs.
    pub(super) fn is_idle(&self) -> bool {
        !self.held.values().any(Held::runs)
    }

    /// Numbers `calls` and does nothing.
    pub(super) fn rehearse(&mut self, calls: Vec<Call>) -> Vec<Invocation> {
        self.number(calls, Status::DryRun)
    }

    /// Puts another catalogue into force, or none. What waits to be confirmed and no longer fits is dropped.
    pub(super) fn put(&mut self, force: Option<Arc<Force>>, effects: &mut Effects) {
        self.force = force;
        self.halted = None;
        self.drop_where(
            |ledger, held| ledger.command(&held.current().call).is_none(),
            Status::NotAllowed,
            effects,
        );
    }

    /// Takes in `calls` that arrived then. Those before the last one that halts are cancelled, because that
    /// one may have been meant to take them back. Returns the number of their batch.
    ///
    /// # Errors
    /// [`CommandError::Crowded`] when too many run already and none of `calls` halts.
    pub(super) fn enter(
        &mut self,
        calls: Vec<Call>,
        origin: &Origin,
        arrival: Arrival,
        now: Instant,
        effects: &mut Effects,
    ) -> Result<u64, CommandError> {
        let last_halt = calls.iter().rposition(|call| self.halts(call));
        let mut epoch = arrival.epoch;
        if last_halt.is_some() {
            let was_current = epoch == self.epoch;
            self.cancel_all(effects);
            // What was said after the halt, in the same breath, was not meant to be halted.
            if was_current {
                epoch = self.epoch;
            }
        } else {
            self.refuse_crowds(origin)?;
        }
        let mut batch = Batch {
            origin: origin.clone(),
            epoch,
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

    /// Carries out the command that waits under `id`, and those that were said after it. Returns the number
    /// of their batch.
    ///
    /// # Errors
    /// When nothing waits under `id` that this person may confirm, or too many run already; then it goes on waiting.
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
        let Held { batch, .. } = self.held.remove(&number).ok_or_else(nothing)?;
        self.advance(batch, true, now, effects);
        Ok(number)
    }

    /// Lets go of the command that waits under `id`, and of those that were said after it; returns them.
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

    /// Lets go of what waited to be confirmed for too long.
    pub(super) fn expire(&mut self, now: Instant, effects: &mut Effects) {
        let is_expired = |_: &Self, held: &Held| held.expires().is_some_and(|at| at <= now);
        self.drop_where(is_expired, Status::Expired, effects);
    }

    /// When the first that waits to be confirmed will have waited for too long.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.held.values().filter_map(Held::expires).min()
    }

    /// Whether an utterance that arrives now may be a yes or a no.
    pub(super) fn has_asked(&self, now: Instant) -> bool {
        let mut asking = self.held.values().filter(|held| held.awaits(now));
        asking.any(|held| Some(held.current().id) == self.asked)
    }

    /// The command that an utterance decides about, if it is a yes or a no. Whatever it is, later ones do not.
    /// One that began before the question was asked is no answer to it.
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

    /// Cancels all that waits and runs, and invokes every command that halts, all at once. One whose action
    /// runs already, with nothing begun since, is not run a second time beside it, and none are where that has just
    /// been done.
    pub(super) fn halt(
        &mut self,
        origin: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) -> Vec<Invocation> {
        self.cancel_all(effects);
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

    /// The person who waited for the batch of this number has left: what runs of it is to end, unless it halts, and
    /// the rest does not begin. A question stays: others may answer it.
    pub(super) fn abandon(&mut self, number: u64, effects: &mut Effects) {
        if self.held.get(&number).is_some_and(Held::runs) {
            self.cancel(number, effects);
        }
    }

    /// The last halt: nothing begins after it but the commands that halt.
    pub(super) fn close(&mut self, origin: &Origin, now: Instant, effects: &mut Effects) {
        self.halt(origin, now, effects);
        self.is_closed = true;
    }

    /// The action of the command `id` has ended with this status, and said this.
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
        if matches!(state, State::Halting { .. }) && status != Status::Done {
            self.halted = None;
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
        if !command.halts && batch.epoch < self.epoch {
            Decision::Refuse(Status::Cancelled)
        } else if !command.is_for(&batch.origin) {
            Decision::Refuse(Status::NotAllowed)
        } else if self.rates.is_too_soon(name, command, now) {
            Decision::Refuse(Status::TooSoon)
        } else if command.confirm && !confirmed {
            Decision::Ask
        } else {
            Decision::Begin
        }
    }

    /// Begins the command whose turn it is; how it runs, if its action does now.
    fn begin(&mut self, batch: &mut Batch, now: Instant, effects: &mut Effects) -> Option<State> {
        let force = self.force.clone()?;
        let call = &batch.invocations[batch.turn].call;
        let command = force.catalogue.command(call)?;
        if command.halts
            && let Some(running) = self.join_halt(call, false)
        {
            batch.invocations[batch.turn].status = running.status;
            return None;
        }
        self.rates.count(&call.name, command, now);
        if !command.halts {
            self.held.values_mut().for_each(Held::outdate);
        }
        let state = command.action.is_some().then_some(if command.halts {
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

    /// Makes room for a question to this person, at the cost of the person who has been asked the most.
    fn displace(&mut self, origin: &Origin, effects: &mut Effects) {
        let asking = || self.held.iter().filter(|(_, held)| held.is_asking());
        if asking().count() < MOST_ASKED {
            return;
        }
        let share = |of: &Origin| {
            let theirs = asking().filter(|(_, held)| held.batch.origin.is_same_person(of));
            theirs.count() + usize::from(of.is_same_person(origin))
        };
        // Of one person's the oldest goes: numbers grow.
        let most =
            asking().max_by_key(|(number, held)| (share(&held.batch.origin), Reverse(**number)));
        if let Some(number) = most.map(|(number, _)| *number) {
            self.drop_asked(number, Status::Displaced, effects);
        }
    }

    /// Lets go of the batches that wait to be confirmed and of which `is_dropped` is true.
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

    /// Lets go of a batch that waits to be confirmed; returns what was not done.
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

    /// Begins another epoch: what waits is dropped, what runs is to end, unless it halts itself, and what
    /// was said after it does not begin.
    fn cancel_all(&mut self, effects: &mut Effects) {
        self.epoch = self.epoch.next();
        self.drop_where(|_, _| true, Status::Cancelled, effects);
        let running: Vec<_> = self.held.keys().copied().collect();
        for number in running {
            self.cancel(number, effects);
        }
    }

    /// Ends what runs of a batch, unless it halts, and drops the rest of it.
    fn cancel(&mut self, number: u64, effects: &mut Effects) {
        let Some(mut held) = self.held.remove(&number) else {
            return;
        };
        if matches!(held.state, State::Running) {
            effects.push(Effect::Cancel(held.current().id));
        }
        self.drop_pending(&mut held.batch, .., Status::Cancelled, effects);
        self.held.insert(number, held);
    }

    /// Gives those in `range` whose turn has not come this status, but for those that halt.
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

    /// The command that halts and runs already, if it serves for `call` too: where `is_enough`, because
    /// nothing began since; else only if as many run as may, and then again when it has ended.
    fn join_halt(&mut self, call: &Call, is_enough: bool) -> Option<Invocation> {
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

    fn begin_halt(
        &mut self,
        call: Call,
        origin: &Origin,
        now: Instant,
        effects: &mut Effects,
    ) -> Invocation {
        let mut batch = Batch {
            origin: origin.clone(),
            epoch: self.epoch,
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

    /// The number of the batch that waits to be confirmed under `id`, by this person.
    fn waiting(&self, id: u64, by: &Origin, now: Instant) -> Option<u64> {
        let mut held = self.held.iter();
        let waiting = held.find(|(_, held)| {
            held.awaits(now) && held.current().id == id && held.batch.may_be_confirmed(by)
        });
        waiting.map(|(number, _)| *number)
    }

    /// The command of a call that fits the catalogue in force.
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
