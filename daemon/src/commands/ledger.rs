//! Which commands may be invoked now, which wait to be confirmed, and the record of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gemmad_api::InvocationStatus;

use super::{Call, Catalogue, Command};

/// How long a command waits to be confirmed.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the rates of commands are about.
const MINUTE: Duration = Duration::from_mins(1);

/// How many wait at the same time; one more lets go of the oldest.
const MOST_WAITING: usize = 16;

/// Where a command came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Somebody wrote it, or a program asked.
    Text {
        /// Their user name, or their number if they have no name.
        user: String,
    },
    /// Somebody said it.
    Voice {
        /// The utterance; `None`: a word was heard that belongs to none.
        utterance: Option<u64>,
    },
}

/// A command, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// Its number, unique while the daemon runs.
    pub id: u64,
    /// The command.
    pub call: Call,
    /// What became of it.
    pub status: InvocationStatus,
    /// What its action said, or why it failed; empty: nothing.
    pub result: String,
}

/// Commands that were said together, of which the first has to be confirmed.
#[derive(Debug)]
struct Waiting {
    calls: Vec<(u64, Call)>,
    origin: Origin,
    since: Instant,
}

/// The state behind [`Ledger`].
#[derive(Debug, Default)]
struct Pages {
    last_id: u64,
    /// When a command was invoked, for as long as it matters: the last time, and all within a minute.
    invoked: BTreeMap<String, VecDeque<Instant>>,
    waiting: VecDeque<Waiting>,
    /// What was said last and waits; what is said next decides about it.
    asked: Option<u64>,
    /// The utterance in which something was heard that halts, before the model made it out.
    halted: Option<u64>,
}

/// Numbers commands, and remembers when they were invoked and which are to be confirmed.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Pages>);

impl Ledger {
    /// Numbers `calls` and does nothing.
    pub(super) fn rehearse(&self, calls: Vec<Call>) -> Vec<Invocation> {
        let mut pages = self.pages();
        let rehearsed = calls
            .into_iter()
            .map(|call| Invocation::new(pages.next(), call, InvocationStatus::DryRun));
        rehearsed.collect()
    }

    /// Decides in order what becomes of `calls`. Those after one that was refused are not carried out, and
    /// those after one that has to be confirmed wait with it: they were said to come after it. Those before
    /// one that halts are cancelled, for it may have been meant to take them back.
    pub(super) fn enter(
        &self,
        catalogue: &Catalogue,
        calls: Vec<Call>,
        origin: &Origin,
    ) -> Vec<Invocation> {
        let mut pages = self.pages();
        let calls: Vec<_> = calls.into_iter().map(|call| (pages.next(), call)).collect();
        let last_halt = calls.iter().rposition(|(_, call)| catalogue.halts(call));
        let undone = match (last_halt, origin) {
            (Some(last_halt), _) => last_halt,
            // It was heard in there, although the model did not make it out.
            (None, Origin::Voice { utterance })
                if utterance.is_some() && *utterance == pages.halted =>
            {
                calls.len()
            }
            (None, _) => 0,
        };
        let mut calls = calls.into_iter();
        let mut entered: Vec<_> = calls
            .by_ref()
            .take(undone)
            .map(|(id, call)| {
                let status = if catalogue.halts(&call) {
                    InvocationStatus::Done
                } else {
                    InvocationStatus::Cancelled
                };
                Invocation::new(id, call, status)
            })
            .collect();
        entered.extend(pages.enter(catalogue, calls.collect(), origin, false));
        entered
    }

    /// Invokes all commands that halt, whatever was invoked before. Of the utterance it was heard in, if it
    /// was, nothing else is invoked unless the model finds that it was said after it.
    pub(super) fn halt(&self, catalogue: &Catalogue, origin: &Origin) -> Vec<Invocation> {
        let mut pages = self.pages();
        if let Origin::Voice { utterance } = origin {
            pages.halted = *utterance;
        }
        let calls = catalogue.halting().into_iter();
        let halting = calls.map(|call| Invocation::new(pages.next(), call, InvocationStatus::Done));
        halting.collect()
    }

    /// Lets go of all that waits to be confirmed; returns it, with where it came from.
    pub(super) fn drop_waiting(&self) -> Vec<(Invocation, Origin)> {
        let waiting = std::mem::take(&mut self.pages().waiting);
        waiting.into_iter().flat_map(Waiting::cancelled).collect()
    }

    /// Carries out what waits under `id`, if it may be confirmed by whoever this is.
    pub(super) fn confirm(
        &self,
        catalogue: &Catalogue,
        id: u64,
        by: &Origin,
    ) -> Option<(Vec<Invocation>, Origin)> {
        let mut pages = self.pages();
        let Waiting { calls, origin, .. } = pages.take(id, by)?;
        Some((pages.enter(catalogue, calls, &origin, true), origin))
    }

    /// The command that what is said now decides about, if it is a yes or a no. Whatever it is, what is said after it
    /// does not: then it can be confirmed over the bus only.
    pub(super) fn take_asked(&self) -> Option<u64> {
        self.pages().asked.take()
    }

    /// Whether what is said next may be a yes or a no.
    pub(super) fn has_asked(&self) -> bool {
        let mut pages = self.pages();
        pages.forget_old();
        let Pages { waiting, asked, .. } = &*pages;
        waiting.iter().any(|it| Some(it.calls[0].0) == *asked)
    }

    /// Lets go of what waits under `id`, if whoever this is may decide about it; returns it, with where it came from.
    pub(super) fn refuse(&self, id: u64, by: &Origin) -> Option<Vec<(Invocation, Origin)>> {
        let waiting = self.pages().take(id, by)?;
        Some(waiting.cancelled().collect())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Nothing is left half done in it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn next(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn enter(
        &mut self,
        catalogue: &Catalogue,
        calls: Vec<(u64, Call)>,
        origin: &Origin,
        confirmed: bool,
    ) -> Vec<Invocation> {
        let mut entered = Vec::new();
        let mut held = None;
        let mut waiting = Vec::new();
        for (id, call) in calls {
            let status = match held {
                Some(status) => status,
                None => self.decide(catalogue, &call, origin, confirmed),
            };
            match status {
                InvocationStatus::Done => self.count(&call.name),
                InvocationStatus::Unconfirmed => {
                    held = Some(status);
                    waiting.push((id, call.clone()));
                }
                _ => held = Some(InvocationStatus::Skipped),
            }
            entered.push(Invocation::new(id, call, status));
        }
        if !waiting.is_empty() {
            self.hold(waiting, origin.clone());
        }
        entered
    }

    fn decide(
        &self,
        catalogue: &Catalogue,
        call: &Call,
        origin: &Origin,
        confirmed: bool,
    ) -> InvocationStatus {
        // A command that waited may have left the catalogue since.
        let Some(command) = catalogue.command(call) else {
            return InvocationStatus::NotAllowed;
        };
        if !command.is_for(origin) {
            InvocationStatus::NotAllowed
        } else if self.is_too_soon(&call.name, command) {
            InvocationStatus::TooSoon
        } else if command.confirm && !confirmed {
            InvocationStatus::Unconfirmed
        } else {
            InvocationStatus::Done
        }
    }

    fn forget_old(&mut self) {
        self.waiting.retain(|it| it.since.elapsed() < PATIENCE);
    }

    /// Takes out what waits under `id`, if whoever this is may decide about it.
    fn take(&mut self, id: u64, by: &Origin) -> Option<Waiting> {
        self.forget_old();
        let mut waiting = self.waiting.iter();
        let index = waiting.position(|it| it.calls[0].0 == id && it.may_be_confirmed(by))?;
        self.waiting.remove(index)
    }

    fn is_too_soon(&self, name: &str, command: &Command) -> bool {
        let Some(times) = self.invoked.get(name) else {
            return false;
        };
        let last = times.back();
        let lately = times.iter().filter(|it| it.elapsed() < MINUTE).count();
        last.is_some_and(|last| last.elapsed() < command.cooldown)
            || command
                .at_most
                .is_some_and(|most| lately >= most.get() as usize)
    }

    fn count(&mut self, name: &str) {
        let times = self.invoked.entry(name.into()).or_default();
        times.retain(|it| it.elapsed() < MINUTE);
        times.push_back(Instant::now());
    }

    fn hold(&mut self, calls: Vec<(u64, Call)>, origin: Origin) {
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        if matches!(origin, Origin::Voice { .. }) {
            self.asked = Some(calls[0].0);
        }
        self.waiting.push_back(Waiting {
            calls,
            origin,
            since: Instant::now(),
        });
    }
}

impl Waiting {
    /// What somebody wrote, only they confirm; what was said, whoever may talk to the daemon.
    fn may_be_confirmed(&self, by: &Origin) -> bool {
        matches!(self.origin, Origin::Voice { .. }) || self.origin == *by
    }

    fn cancelled(self) -> impl Iterator<Item = (Invocation, Origin)> {
        let Self { calls, origin, .. } = self;
        calls.into_iter().map(move |(id, call)| {
            let cancelled = Invocation::new(id, call, InvocationStatus::Cancelled);
            (cancelled, origin.clone())
        })
    }
}

impl Command {
    fn is_for(&self, origin: &Origin) -> bool {
        match (&self.users, origin) {
            (None, _) => true,
            (Some(users), Origin::Text { user }) => users.contains(user),
            (Some(_), Origin::Voice { .. }) => false,
        }
    }
}

impl Invocation {
    /// A command of which nothing came yet.
    fn new(id: u64, call: Call, status: InvocationStatus) -> Self {
        Self {
            id,
            call,
            status,
            result: String::new(),
        }
    }

    /// Puts it on record in the journal: what, who and the result; the arguments, and what its action said, only
    /// with the content of conversations, because they repeat it.
    pub(super) fn record(&self, origin: &Origin, with_content: bool) {
        let (arguments, said) = if with_content {
            (self.call.arguments_json(), self.result.as_str())
        } else {
            (String::new(), "")
        };
        log::info!(
            event = "command", command = self.call.name, id = self.id, result = self.status.as_str(),
            origin = origin.to_string(), arguments = arguments, said = said;
            "command {}: {}", self.call.name, self.status.as_str()
        );
    }
}

/// `set_light room=kitchen state=on`, what became of it unless it was done, and what its action said.
impl fmt::Display for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.call.name)?;
        for (key, value) in &self.call.arguments {
            match value.as_str() {
                Some(text) if !text.contains(' ') => write!(formatter, " {key}={text}")?,
                _ => write!(formatter, " {key}={value}")?,
            }
        }
        if self.status != InvocationStatus::Done {
            write!(formatter, " ({})", self.status.as_str())?;
        }
        match self.result.as_str() {
            "" => Ok(()),
            result => write!(formatter, ": {result}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { user } => write!(formatter, "user {user}"),
            Self::Voice {
                utterance: Some(utterance),
            } => write!(formatter, "utterance {utterance}"),
            Self::Voice { utterance: None } => formatter.write_str("a word that was heard"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn catalogue() -> Catalogue {
        let text = r#"
            [commands.go]
            description = "Go."
            [commands.open]
            description = "Open the door."
            confirm = true
            [commands.ring]
            description = "Ring."
            cooldown_ms = 60000
            [commands.knock]
            description = "Knock."
            at_most_per_minute = 2
            [commands.wipe]
            description = "Wipe."
            users = ["anna"]
            [commands.stop]
            description = "Stop."
            halts = true
        "#;
        Catalogue::parse(Path::new("x.toml"), text).unwrap()
    }

    fn calls(names: &str) -> Vec<Call> {
        let call = |name: &str| Call {
            name: name.into(),
            arguments: super::super::Arguments::new(),
        };
        names.split(' ').map(call).collect()
    }

    fn anna() -> Origin {
        Origin::Text {
            user: "anna".into(),
        }
    }

    fn voice() -> Origin {
        Origin::Voice { utterance: Some(1) }
    }

    fn statuses(invocations: &[Invocation]) -> String {
        let statuses: Vec<_> = invocations.iter().map(|it| it.status.as_str()).collect();
        statuses.join(" ")
    }

    #[test]
    fn what_has_to_be_confirmed_holds_up_what_was_said_after_it() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let entered = ledger.enter(&catalogue, calls("go open go"), &anna());
        assert_eq!(statuses(&entered), "done unconfirmed unconfirmed");
        let id = entered[1].id;
        let bert = Origin::Text {
            user: "bert".into(),
        };
        assert_eq!(ledger.confirm(&catalogue, id, &bert), None);
        assert_eq!(ledger.confirm(&catalogue, entered[2].id, &anna()), None);
        let (confirmed, _) = ledger.confirm(&catalogue, id, &anna()).unwrap();
        assert_eq!(statuses(&confirmed), "done done");
        assert_eq!(confirmed[0].id, id);
        assert_eq!(ledger.confirm(&catalogue, id, &anna()), None);
    }

    #[test]
    fn after_a_command_that_was_refused_nothing_follows() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let enter =
            |names, origin: &Origin| statuses(&ledger.enter(&catalogue, calls(names), origin));
        assert_eq!(enter("wipe go", &anna()), "done done");
        assert_eq!(enter("go wipe go", &voice()), "done not-allowed skipped");
        assert_eq!(enter("ring ring go", &voice()), "done too-soon skipped");
    }

    #[test]
    fn what_halts_takes_back_what_came_before_it_in_the_same_breath() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let enter =
            |names, origin: &Origin| statuses(&ledger.enter(&catalogue, calls(names), origin));
        assert_eq!(
            enter("open go stop go", &anna()),
            "cancelled cancelled done done"
        );
        assert!(ledger.drop_waiting().is_empty());
        assert_eq!(enter("stop stop stop", &anna()), "done done done");
    }

    #[test]
    fn halting_needs_no_model_and_what_else_is_made_out_of_that_utterance_is_not_done() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let halted = ledger.halt(&catalogue, &voice());
        assert_eq!(halted[0].to_string(), "stop");
        let enter =
            |names, origin: &Origin| statuses(&ledger.enter(&catalogue, calls(names), origin));
        assert_eq!(enter("go ring", &voice()), "cancelled cancelled");
        assert_eq!(enter("go stop ring", &voice()), "cancelled done done");
        let next = Origin::Voice { utterance: Some(2) };
        assert_eq!(enter("go", &next), "done");
        ledger.halt(&catalogue, &Origin::Voice { utterance: None });
        assert_eq!(enter("go", &voice()), "done");
    }

    #[test]
    fn what_waits_is_dropped_with_where_it_came_from() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let entered = ledger.enter(&catalogue, calls("open go"), &anna());
        let dropped = ledger.drop_waiting();
        assert_eq!(dropped.len(), 2);
        assert_eq!(dropped[0].0.status, InvocationStatus::Cancelled);
        assert_eq!(dropped[0].1, anna());
        assert_eq!(ledger.confirm(&catalogue, entered[0].id, &anna()), None);
    }

    #[test]
    fn only_what_is_said_next_decides_about_what_was_said_and_waits() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        ledger.enter(&catalogue, calls("open"), &anna());
        assert!(!ledger.has_asked());
        let entered = ledger.enter(&catalogue, calls("open go"), &voice());
        assert!(ledger.has_asked());
        let asked = ledger.take_asked().unwrap();
        assert_eq!(asked, entered[0].id);
        assert_eq!(ledger.take_asked(), None);
        let refused = ledger.refuse(asked, &voice()).unwrap();
        let refused: Vec<_> = refused.into_iter().map(|(it, _)| it).collect();
        assert_eq!(statuses(&refused), "cancelled cancelled");
        assert_eq!(ledger.refuse(asked, &voice()), None);
        ledger.enter(&catalogue, calls("open"), &voice());
        ledger.drop_waiting();
        assert!(!ledger.has_asked());
    }

    #[test]
    fn a_command_is_not_invoked_more_often_within_a_minute_than_it_may() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let entered = ledger.enter(&catalogue, calls("knock go knock knock"), &anna());
        assert_eq!(statuses(&entered), "done done done too-soon");
    }

    #[test]
    fn a_rehearsal_does_nothing_and_holds_up_nothing() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let rehearsed = ledger.rehearse(calls("ring open"));
        assert_eq!(statuses(&rehearsed), "dry-run dry-run");
        assert_eq!(
            statuses(&ledger.enter(&catalogue, calls("ring"), &voice())),
            "done"
        );
    }

    #[test]
    fn the_oldest_of_too_many_that_wait_is_let_go() {
        let (ledger, catalogue) = (Ledger::default(), catalogue());
        let entered: Vec<_> = (0..=MOST_WAITING)
            .map(|_| ledger.enter(&catalogue, calls("open"), &voice())[0].id)
            .collect();
        assert_eq!(ledger.confirm(&catalogue, entered[0], &anna()), None);
        assert!(ledger.confirm(&catalogue, entered[1], &anna()).is_some());
    }
}
