//! The ledger step by step, and in random order with simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::halting::{MOST_HALTING, SAME_HALT};
use super::*;
use crate::commands::{Arguments, Catalogue};
use crate::config;

/// `most` is the largest distance of `go`.
fn force(most: u32) -> Arc<Force> {
    let text = format!(
        r#"
        [commands.go]
        description = "Go."
        parameters = {{ distance = {{ type = "integer", min = 1, max = {most}, default = 1 }} }}
        action.program = {{ run = ["/bin/true"] }}
        [commands.look]
        description = "Look."
        [commands.open]
        description = "Open the door."
        confirm = true
        action.program = {{ run = ["/bin/true"] }}
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
        action.program = {{ run = ["/bin/true"] }}
        [commands.freeze]
        description = "Freeze."
        halts = true
        "#
    );
    let catalogue = Catalogue::parse(Path::new("x.toml"), &text).unwrap();
    Arc::new(Force::new(catalogue, &config::Commands::default()))
}

fn call(name: &str) -> Call {
    let mut arguments = Arguments::new();
    if name == "go" {
        arguments.insert("distance".into(), json!(1));
    }
    Call {
        name: name.into(),
        arguments,
    }
}

fn user(name: &str) -> Origin {
    Origin::Text { user: name.into() }
}

fn voice() -> Origin {
    Origin::Voice { utterance: Some(1) }
}

fn statuses(invocations: &[Invocation]) -> String {
    let statuses: Vec<_> = invocations.iter().map(|it| it.status.as_str()).collect();
    statuses.join(" ")
}

/// A ledger with a clock that is set by hand, and the ledger's effects.
struct Room {
    ledger: Ledger,
    now: Instant,
    effects: Effects,
}

impl Room {
    fn new() -> Self {
        let mut room = Self {
            ledger: Ledger::default(),
            now: Instant::now(),
            effects: Effects::new(),
        };
        room.ledger.put(Some(force_of(60)), &mut room.effects);
        room
    }

    fn arrival(&self) -> Arrival {
        self.ledger.arrival(self.now)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.ledger.expire(self.now, &mut self.effects);
    }

    /// Takes in commands that arrived now.
    fn enter(&mut self, names: &str, origin: &Origin) -> u64 {
        let arrival = self.arrival();
        self.enter_late(names, origin, arrival)
    }

    fn enter_late(&mut self, names: &str, origin: &Origin, arrival: Arrival) -> u64 {
        self.enter_by(names, origin, arrival, Evidence::Certain)
    }

    fn enter_by(
        &mut self,
        names: &str,
        origin: &Origin,
        arrival: Arrival,
        evidence: Evidence,
    ) -> u64 {
        let calls = names.split(' ').map(call).collect();
        let Self {
            ledger,
            now,
            effects,
        } = self;
        let entered = ledger.enter(calls, origin, arrival, evidence, *now, effects);
        entered.unwrap()
    }

    /// Takes in commands that arrived now and may have been misheard.
    fn enter_doubtful(&mut self, names: &str) -> u64 {
        let arrival = self.arrival();
        self.enter_by(names, &voice(), arrival, Evidence::Doubtful)
    }

    fn halt(&mut self, origin: &Origin) -> Vec<Invocation> {
        self.ledger.halt(origin, self.now, &mut self.effects)
    }

    fn confirm(&mut self, id: u64, by: &Origin) -> Option<u64> {
        let confirmed = self.ledger.confirm(id, by, self.now, &mut self.effects);
        confirmed.ok()
    }

    fn end(&mut self, id: u64, status: Status) {
        let ended = (status, String::new());
        self.ledger.ended(id, ended, self.now, &mut self.effects);
    }

    /// Ends every action that runs, until none does.
    fn end_all(&mut self) {
        while let Some(id) = self.runs().first().copied() {
            self.end(id, Status::Done);
        }
    }

    fn runs(&self) -> Vec<u64> {
        let held = self.ledger.held.values().filter(|held| held.runs());
        held.map(|held| held.current().id).collect()
    }

    /// The commands of the batch, as they were when it settled last.
    fn outcome(&self, number: u64) -> &[Invocation] {
        let settled = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Settle(of, invocations) if *of == number => Some(invocations.as_slice()),
            _ => None,
        });
        settled.expect("a batch that settled")
    }

    /// Names and events in order, such as `invoked go`.
    fn told(&self) -> Vec<String> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(Event::Invoked(it, _)) => Some(format!("invoked {}", it.call.name)),
            Effect::Tell(Event::Unconfirmed(it, _)) => Some(format!("asked {}", it.call.name)),
            Effect::Tell(Event::Finished(it, _)) => Some(format!("finished {}", it.call.name)),
            Effect::Tell(Event::Dropped(it, _)) => {
                Some(format!("dropped {} {}", it.call.name, it.status.as_str()))
            }
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn the_next_command_begins_when_the_action_before_has_ended_well() {
    let mut room = Room::new();
    let batch = room.enter("go look go", &user("anna"));
    assert_eq!(room.told(), ["invoked go"]);
    room.end(1, Status::Done);
    assert_eq!(
        room.told(),
        ["invoked go", "finished go", "invoked look", "invoked go"]
    );
    room.end(3, Status::Failed);
    assert_eq!(statuses(room.outcome(batch)), "done done failed");
    let batch = room.enter("go look", &user("anna"));
    room.end(4, Status::TimedOut);
    assert_eq!(statuses(room.outcome(batch)), "timed-out skipped");
    assert!(room.ledger.is_idle());
}

#[test]
fn what_has_to_be_confirmed_is_asked_about_when_its_turn_comes_and_holds_up_what_follows() {
    let mut room = Room::new();
    let batch = room.enter("go open look", &user("anna"));
    // The second command was not asked about yet, so it does not expire.
    room.pass(62);
    assert_eq!(room.confirm(2, &user("anna")), None);
    room.end(1, Status::Done);
    assert_eq!(
        statuses(room.outcome(batch)),
        "done unconfirmed unconfirmed"
    );
    assert_eq!(room.confirm(2, &user("bert")), None);
    assert_eq!(room.confirm(3, &user("anna")), None);
    room.pass(59);
    assert_eq!(room.confirm(2, &user("anna")), Some(batch));
    assert_eq!(room.confirm(2, &user("anna")), None);
    room.end(2, Status::Done);
    assert_eq!(statuses(room.outcome(batch)), "done done done");
}

#[test]
fn nobody_is_asked_about_a_command_after_one_that_failed() {
    let mut room = Room::new();
    let batch = room.enter("go open", &user("anna"));
    room.end(1, Status::Failed);
    assert_eq!(statuses(room.outcome(batch)), "failed skipped");
    assert_eq!(room.ledger.next_expiry(), None);
}

#[test]
fn after_a_command_that_was_refused_nothing_follows() {
    let mut room = Room::new();
    let batch = room.enter("wipe look", &user("anna"));
    assert_eq!(statuses(room.outcome(batch)), "done done");
    let batch = room.enter("look wipe look", &voice());
    assert_eq!(statuses(room.outcome(batch)), "done not-allowed skipped");
    let batch = room.enter("ring ring look", &voice());
    assert_eq!(statuses(room.outcome(batch)), "done too-soon skipped");
    let batch = room.enter("knock look knock knock", &user("anna"));
    assert_eq!(statuses(room.outcome(batch)), "done done done too-soon");
    room.pass(60);
    let batch = room.enter("ring knock", &user("anna"));
    assert_eq!(statuses(room.outcome(batch)), "done done");
}

#[test]
fn what_halts_takes_back_what_came_before_it_in_the_same_breath() {
    let mut room = Room::new();
    let batch = room.enter("open look freeze look", &user("anna"));
    assert_eq!(
        statuses(room.outcome(batch)),
        "cancelled cancelled done done"
    );
    let batch = room.enter("freeze freeze", &user("anna"));
    assert_eq!(statuses(room.outcome(batch)), "done done");
}

#[test]
fn what_arrived_before_a_halt_does_not_begin_after_it() {
    let mut room = Room::new();
    // The model thinks about one, an action of the other runs.
    let early = room.arrival();
    let running = room.enter("go look", &user("anna"));
    let halted = room.halt(&voice());
    assert_eq!(statuses(&halted), "done running");
    assert!(
        matches!(room.effects[2], Effect::Cancel(1)),
        "{:?}",
        room.effects
    );
    let late = room.enter_late("look", &user("bert"), early);
    assert_eq!(statuses(room.outcome(late)), "cancelled");
    let late = room.enter_late("look stop look", &user("bert"), early);
    room.end(1, Status::Cancelled);
    room.end_all();
    assert_eq!(statuses(room.outcome(running)), "cancelled cancelled");
    assert_eq!(statuses(room.outcome(late)), "cancelled done cancelled");
    let after = room.enter("look", &user("bert"));
    assert_eq!(statuses(room.outcome(after)), "done");
}

#[test]
fn speech_that_began_before_a_halt_and_is_noticed_after_it_begins_no_command() {
    let mut room = Room::new();
    room.pass(10);
    room.halt(&user("anna"));
    let before = room.now.checked_sub(Duration::from_millis(300)).unwrap();
    let before = room.ledger.arrival(before);
    let late = room.enter_late("look", &voice(), before);
    assert_eq!(statuses(room.outcome(late)), "cancelled");
    let after = room.enter("look", &voice());
    assert_eq!(statuses(room.outcome(after)), "done");
}

#[test]
fn halting_cancels_when_commands_were_switched_off_and_what_runs_was_begun_before() {
    let mut room = Room::new();
    let running = room.enter("go look", &user("anna"));
    let early = room.arrival();
    room.ledger.put(None, &mut room.effects);
    assert_eq!(room.halt(&user("anna")), []);
    assert!(matches!(room.effects.last(), Some(Effect::Record(..))));
    room.end(1, Status::Cancelled);
    assert_eq!(statuses(room.outcome(running)), "cancelled cancelled");
    let late = room.enter_late("look", &user("anna"), early);
    assert_eq!(statuses(room.outcome(late)), "not-allowed");
}

#[test]
fn a_halt_joins_the_one_before_unless_something_began_in_between() {
    let mut room = Room::new();
    let first = room.halt(&user("anna"));
    for _ in 0..600 {
        room.now += SAME_HALT;
        let next = room.halt(&user("bert"));
        // A command without an action is signalled again; an action that already runs is not run twice.
        assert_eq!(next[1], first[1]);
    }
    assert_eq!(room.runs(), [first[1].id]);
    room.enter("look", &user("anna"));
    let second = room.halt(&user("anna"));
    assert_ne!(second[1].id, first[1].id);
    assert_eq!(room.runs().len(), 2);
}

#[test]
fn halts_in_a_row_are_told_of_once_in_a_while_unless_something_came_between() {
    let mut room = Room::new();
    let invoked = |room: &Room| {
        let told = room.told();
        told.iter().filter(|it| *it == "invoked freeze").count()
    };
    let first = room.halt(&user("anna"));
    assert_eq!(room.halt(&user("bert")), first);
    for _ in 0..1000 {
        room.halt(&user("bert"));
        room.now += Duration::from_millis(1);
    }
    assert_eq!(invoked(&room), 10);
    room.enter("look", &user("anna"));
    room.halt(&user("anna"));
    assert_eq!(invoked(&room), 11);
    room.halt(&user("anna"));
    let stop = *room.runs().last().unwrap();
    room.end(stop, Status::Failed);
    // However soon it fails, it begins no more often.
    assert_eq!(statuses(&room.halt(&user("anna"))), "done failed");
    assert_eq!(invoked(&room), 11);
    room.now += SAME_HALT;
    assert_eq!(statuses(&room.halt(&user("anna"))), "done running");
    assert_eq!(invoked(&room), 12);
}

#[test]
fn no_more_actions_of_a_halting_command_run_than_a_few_and_the_last_halt_is_still_served() {
    let mut room = Room::new();
    for _ in 0..50 {
        room.enter("look", &user("anna"));
        room.halt(&user("anna"));
    }
    assert_eq!(room.runs().len(), MOST_HALTING);
    let last = *room.runs().last().unwrap();
    let invoked = |room: &Room| {
        room.told()
            .iter()
            .filter(|it| *it == "invoked stop")
            .count()
    };
    let before = invoked(&room);
    room.end(last, Status::Done);
    assert_eq!(invoked(&room), before + 1, "once more, after the last one");
    room.end_all();
    assert_eq!(invoked(&room), before + 1);
}

#[test]
fn a_command_that_no_longer_fits_the_catalogue_is_dropped_and_does_not_begin() {
    let mut room = Room::new();
    let go = Call {
        name: "go".into(),
        arguments: [("distance".into(), json!(60))].into(),
    };
    let calls = vec![call("look"), call("open"), go.clone()];
    let arrival = room.arrival();
    let Room {
        ledger,
        now,
        effects,
    } = &mut room;
    let batch = ledger
        .enter(calls, &voice(), arrival, Evidence::Certain, *now, effects)
        .unwrap();
    ledger.put(Some(force(30)), effects);
    // The command that was asked about still fits; the one after it does not.
    assert_eq!(ledger.confirm(2, &voice(), *now, effects).ok(), Some(batch));
    ledger.ended(2, (Status::Done, String::new()), *now, effects);
    assert_eq!(statuses(room.outcome(batch)), "done done not-allowed");

    let batch = room.enter("open", &voice());
    room.ledger.put(None, &mut room.effects);
    assert_eq!(room.told().last().unwrap(), "dropped open not-allowed");
    assert_eq!(room.confirm(batch, &voice()), None);
}

#[test]
fn a_question_expires_a_minute_after_it_was_asked_and_that_is_told() {
    let mut room = Room::new();
    let batch = room.enter("open look", &user("anna"));
    assert_eq!(
        room.ledger.next_expiry(),
        Some(room.now + Duration::from_mins(1))
    );
    room.pass(60);
    assert_eq!(room.told(), ["asked open", "dropped open expired"]);
    assert_eq!(room.confirm(batch, &user("anna")), None);
    assert_eq!(room.ledger.next_expiry(), None);
}

#[test]
fn too_many_questions_displace_the_oldest_of_who_has_most() {
    let mut room = Room::new();
    let voiced = room.enter("open", &voice());
    let first = room.enter("open", &user("anna"));
    for _ in 0..40 {
        room.enter("open", &user("anna"));
    }
    assert_eq!(room.confirm(first, &user("anna")), None);
    let displaced = room.told();
    let displaced = displaced
        .iter()
        .filter(|it| *it == "dropped open displaced");
    assert_eq!(displaced.count(), 42 - MOST_ASKED);
    assert_eq!(room.confirm(voiced, &voice()), Some(voiced));
}

#[test]
fn a_person_whose_commands_all_run_has_to_wait_and_others_have_not() {
    let mut room = Room::new();
    for _ in 0..MOST_RUNNING_EACH {
        room.enter("go", &user("anna"));
    }
    let arrival = room.arrival();
    let Room {
        ledger,
        now,
        effects,
    } = &mut room;
    let calls = vec![call("look")];
    let crowded = ledger.enter(
        calls,
        &user("anna"),
        arrival,
        Evidence::Certain,
        *now,
        effects,
    );
    assert!(matches!(
        crowded,
        Err(CommandError::Crowded {
            running: MOST_RUNNING_EACH
        })
    ));
    room.enter("go", &voice());
    // Halting is never crowded out.
    room.enter("stop", &user("anna"));
}

#[test]
fn the_next_utterance_decides_and_only_one_that_began_after_the_question() {
    let mut room = Room::new();
    room.enter("open", &user("anna"));
    assert!(!room.ledger.has_asked(room.now), "written, not said");
    let overlapping = room.arrival();
    room.pass(1);
    let asked = room.enter("open look", &voice());
    assert!(room.ledger.has_asked(room.now));
    assert_eq!(room.ledger.take_asked(overlapping), None);
    let next = room.arrival();
    assert_eq!(room.ledger.take_asked(next), Some(asked));
    assert_eq!(room.ledger.take_asked(next), None);
    let Room {
        ledger,
        now,
        effects,
    } = &mut room;
    let refused = ledger.refuse(asked, &voice(), *now, effects).unwrap();
    assert_eq!(statuses(&refused), "refused refused");
    assert_eq!(room.told().last().unwrap(), "dropped open refused");
    room.enter("open", &voice());
    room.halt(&voice());
    assert!(!room.ledger.has_asked(room.now));
}

#[test]
fn commands_that_may_have_been_misheard_wait_for_one_yes_and_halting_ones_for_none() {
    let mut room = Room::new();
    let batch = room.enter_doubtful("look look");
    assert_eq!(statuses(room.outcome(batch)), "unconfirmed unconfirmed");
    assert_eq!(room.confirm(batch, &voice()), Some(batch));
    assert_eq!(statuses(room.outcome(batch)), "done done");
    let stopping = room.enter_doubtful("stop");
    assert_eq!(room.runs(), [stopping]);
}

#[test]
fn a_rehearsal_does_nothing_and_holds_up_nothing() {
    let mut room = Room::new();
    let rehearsed = room.ledger.rehearse(vec![call("ring"), call("open")]);
    assert_eq!(statuses(&rehearsed), "dry-run dry-run");
    let batch = room.enter("ring", &voice());
    assert_eq!(statuses(room.outcome(batch)), "done");
}

#[test]
fn at_the_end_what_halts_is_invoked_and_nothing_else_any_more() {
    let mut room = Room::new();
    room.enter("go", &user("anna"));
    let Room {
        ledger,
        now,
        effects,
    } = &mut room;
    ledger.close(&Origin::Daemon, *now, effects);
    assert!(!ledger.is_idle());
    let told = room.told();
    assert_eq!(told, ["invoked go", "invoked freeze", "invoked stop"]);
    let batch = room.enter("look stop", &user("anna"));
    assert_eq!(statuses(room.outcome(batch)), "cancelled cancelled");
    room.end_all();
    assert!(room.ledger.is_idle());
}

#[test]
fn who_leaves_takes_along_what_runs_and_what_was_to_follow_but_not_what_halts() {
    let mut room = Room::new();
    let going = room.enter("go look", &user("anna"));
    room.ledger.abandon(going, &mut room.effects);
    let is_cancelled = |effect: &Effect| matches!(effect, Effect::Cancel(_));
    assert!(room.effects.iter().any(is_cancelled));
    room.end_all();
    assert_eq!(statuses(room.outcome(going)), "done cancelled");

    let stopping = room.enter("stop", &user("anna"));
    room.effects.clear();
    room.ledger.abandon(stopping, &mut room.effects);
    assert!(!room.effects.iter().any(is_cancelled));
}

/// One step of a random run. Numbers choose among the possible cases.
#[derive(Debug, Clone, Copy)]
enum Step {
    Arrive,
    Enter {
        arrival: usize,
        calls: usize,
        who: usize,
    },
    Confirm {
        which: usize,
        who: usize,
    },
    Refuse {
        which: usize,
    },
    Abandon {
        which: usize,
    },
    Halt {
        who: usize,
    },
    End {
        which: usize,
        how: usize,
    },
    Pass {
        seconds: u64,
    },
    Put {
        which: usize,
    },
    Answer {
        arrival: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..1000_usize;
    prop_oneof![
        2 => Just(Step::Arrive),
        4 => (any.clone(), any.clone(), any.clone())
            .prop_map(|(arrival, calls, who)| Step::Enter { arrival, calls, who }),
        2 => (any.clone(), any.clone()).prop_map(|(which, who)| Step::Confirm { which, who }),
        1 => any.clone().prop_map(|which| Step::Refuse { which }),
        1 => any.clone().prop_map(|which| Step::Abandon { which }),
        1 => any.clone().prop_map(|who| Step::Halt { who }),
        3 => (any.clone(), any.clone()).prop_map(|(which, how)| Step::End { which, how }),
        2 => (0..50_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => any.clone().prop_map(|which| Step::Put { which }),
        1 => any.prop_map(|arrival| Step::Answer { arrival }),
    ]
}

/// The knowledge of an observer who counts halts and reads signals.
#[derive(Default)]
struct Observer {
    halts: u32,
    /// Halts before each arrival.
    arrivals: Vec<(Arrival, u32)>,
    /// Halts before the arrival of each command.
    commands: BTreeMap<u64, u32>,
    /// When each question that is open was asked, and to whom.
    asked: BTreeMap<u64, (Instant, Origin)>,
    confirmed: BTreeSet<u64>,
    running: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    /// Largest distance in force; `None`: commands are off.
    most: Option<u32>,
}

const CALLS: [&str; 10] = [
    "go",
    "look",
    "open",
    "go open go",
    "stop",
    "go stop look",
    "open open",
    "freeze go",
    "ring",
    "wipe go",
];

fn person(who: usize) -> Origin {
    [user("anna"), user("bert"), voice()][who % 3].clone()
}

impl Observer {
    /// Reads and checks the effects of a step.
    fn read(&mut self, room: &mut Room) {
        for effect in std::mem::take(&mut room.effects) {
            match effect {
                Effect::Tell(Event::Invoked(it, _)) => self.invoked(&it),
                Effect::Tell(Event::Unconfirmed(it, origin)) => {
                    assert_eq!(it.call.name, "open");
                    self.asked.insert(it.id, (room.now, origin));
                }
                Effect::Tell(Event::Finished(it, _)) => assert!(!self.running.contains(&it.id)),
                Effect::Tell(Event::Dropped(it, _)) => {
                    assert!(
                        self.asked.remove(&it.id).is_some(),
                        "{it:?} was never asked"
                    );
                }
                Effect::Run(_, it, _) => assert!(self.running.insert(it.id)),
                Effect::Cancel(id) => {
                    assert!(self.running.contains(&id));
                    self.cancelled.insert(id);
                }
                Effect::Record(..) | Effect::Settle(..) => {}
            }
        }
        assert!(self.asked.len() <= MOST_ASKED);
        assert!(self.running.len() <= MOST_RUNNING + MOST_HALTING);
    }

    fn invoked(&mut self, it: &Invocation) {
        let name = it.call.name.as_str();
        let most = self.most.expect("a catalogue");
        if matches!(name, "stop" | "freeze") {
            return;
        }
        let halts = self.commands[&it.id];
        assert_eq!(
            halts, self.halts,
            "{it:?} began after a halt it came before"
        );
        if name == "open" {
            assert!(self.confirmed.remove(&it.id), "{it:?} was not confirmed");
        }
        if let Some(distance) = it.call.arguments.get("distance") {
            assert!(
                distance.as_u64().unwrap() <= most.into(),
                "{it:?} does not fit"
            );
        }
    }
}

fn pick<T>(of: &[T], number: usize) -> Option<&T> {
    (!of.is_empty()).then(|| &of[number % of.len()])
}

#[allow(clippy::too_many_lines)] // One arm for each step.
fn run(steps: &[Step]) {
    let mut room = Room::new();
    let mut seen = Observer {
        most: Some(60),
        ..Observer::default()
    };
    for step in steps {
        match *step {
            Step::Arrive => seen.arrivals.push((room.arrival(), seen.halts)),
            Step::Enter {
                arrival,
                calls,
                who,
            } => {
                let Some(&(arrival, halts)) = pick(&seen.arrivals, arrival) else {
                    continue;
                };
                let names = CALLS[calls % CALLS.len()];
                let halting =
                    seen.most.is_some() && (names.contains("stop") || names.contains("freeze"));
                // Commands after a halt in the same batch belong to the time after it.
                let halts = halts + u32::from(halting && halts == seen.halts);
                seen.halts += u32::from(halting);
                let mut calls: Vec<_> = names.split(' ').map(call).collect();
                for call in calls.iter_mut().filter(|call| call.name == "go") {
                    call.arguments
                        .insert("distance".into(), json!(1 + who % 60));
                }
                let first = room.ledger.last_id + 1;
                for id in (first..).take(calls.len()) {
                    seen.commands.insert(id, halts);
                }
                let Room {
                    ledger,
                    now,
                    effects,
                } = &mut room;
                let _ = ledger.enter(
                    calls,
                    &person(who),
                    arrival,
                    Evidence::Certain,
                    *now,
                    effects,
                );
            }
            Step::Confirm { which, who } => {
                let ids: Vec<_> = seen.asked.keys().copied().collect();
                let id = pick(&ids, which).copied().unwrap_or(which as u64);
                let by = person(who);
                let open = seen.asked.get(&id).is_some_and(|(since, origin)| {
                    room.now < *since + Duration::from_mins(1)
                        && (*origin == voice() || *origin == by)
                });
                let is_crowded = room.ledger.refuse_crowds(&by).is_err();
                if open && !is_crowded {
                    seen.asked.remove(&id);
                    seen.confirmed.insert(id);
                }
                assert_eq!(room.confirm(id, &by).is_some(), open && !is_crowded);
            }
            Step::Refuse { which } => {
                let ids: Vec<_> = seen.asked.keys().copied().collect();
                if let Some(id) = pick(&ids, which) {
                    let Room {
                        ledger,
                        now,
                        effects,
                    } = &mut room;
                    let _ = ledger.refuse(*id, &voice(), *now, effects);
                }
            }
            Step::Abandon { which } => {
                let numbers: Vec<_> = room.ledger.held.keys().copied().collect();
                if let Some(number) = pick(&numbers, which) {
                    room.ledger.abandon(*number, &mut room.effects);
                    seen.read(&mut room);
                    if let Some(held) = room.ledger.held.get(number) {
                        let id = held.current().id;
                        let runs = matches!(held.state, State::Running);
                        assert!(!runs || seen.cancelled.contains(&id), "{held:?} runs on");
                    }
                }
            }
            Step::Halt { who } => {
                seen.halts += 1;
                room.halt(&person(who));
                seen.read(&mut room);
                let held = room.ledger.held.values();
                for held in held.filter(|held| matches!(held.state, State::Running)) {
                    assert!(
                        seen.cancelled.contains(&held.current().id),
                        "{held:?} runs on"
                    );
                }
                assert!(seen.asked.is_empty());
            }
            Step::End { which, how } => {
                let ids: Vec<_> = seen.running.iter().copied().collect();
                if let Some(id) = pick(&ids, which) {
                    seen.running.remove(id);
                    let how = [Status::Done, Status::Done, Status::Failed][how % 3];
                    room.end(*id, how);
                }
            }
            Step::Pass { seconds } => room.pass(seconds),
            Step::Put { which } => {
                seen.most = [Some(60), Some(30), None][which % 3];
                let force = seen.most.map(force_of);
                room.ledger.put(force, &mut room.effects);
            }
            Step::Answer { arrival } => {
                if let Some((arrival, _)) = pick(&seen.arrivals, arrival)
                    && let Some(id) = room.ledger.take_asked(*arrival)
                {
                    assert!(seen.asked[&id].0 <= arrival.at);
                }
            }
        }
        seen.read(&mut room);
    }
    while let Some(id) = seen.running.pop_first() {
        room.end(id, Status::Done);
        seen.read(&mut room);
    }
    assert!(room.ledger.is_idle());
    room.pass(60);
    assert!(room.ledger.held.is_empty());
}

/// Parsing a catalogue takes longer than a whole run.
fn force_of(most: u32) -> Arc<Force> {
    thread_local! {
        static FORCES: [Arc<Force>; 2] = [force(30), force(60)];
    }
    FORCES.with(|forces| Arc::clone(&forces[usize::from(most == 60)]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, max_shrink_iters: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_in_whatever_order_nothing_begins_that_was_halted_unasked_or_unfit(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(&steps);
    }
}
