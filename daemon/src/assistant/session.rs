//! The spoken turns of a session, as pure steps: inputs go in, effects come out. Each utterance has one outcome: a reply,
//! or a failure, which may be that it was cancelled.

use std::collections::BTreeMap;

use super::event::Event;
use super::status::State;
use crate::config::{Meaning, Mode};
use crate::engine::EngineError;
use crate::platform::work::Panicked;
use crate::speak::Earcon;

/// An event that the session has to react to.
#[derive(Debug)]
pub enum Input {
    /// An utterance of this number began.
    Utterance(u64),
    /// The next speech becomes an utterance without a wake word, or no longer does.
    Awake(bool),
    /// A word of this meaning was said.
    Spotted(Meaning),
    /// The voice thread has panicked, and knows nothing of before.
    EarsCrashed,
    /// The assistant begins or ends speaking.
    Aloud(bool),
    /// A turn told this.
    Turn(Event),
    /// The turn of an utterance has ended; one that was cancelled has no number.
    Over(Option<u64>),
    /// An order of the handle.
    Order(Order),
}

/// An order of the handle.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// The microphone is closed, or opened again.
    Mute(bool),
    /// Push to talk.
    Listen,
    /// All is dropped.
    Stop,
    /// The configuration has changed; this is its mode.
    Configure(Mode),
}

/// An effect to be carried out, in order.
#[derive(Debug)]
pub enum Effect {
    /// The subscribers are told.
    Tell(Event),
    /// The turn of this utterance begins.
    Begin(u64),
    /// All turns end.
    AbortTurns,
    /// The assistant falls silent.
    Silence,
    /// This is heard from the loudspeaker.
    Signal(Earcon),
    /// The ears are told of the assistant's own speech.
    BesideSpeech(bool),
    /// The ears are muted, or opened.
    Mute(bool),
    /// The ears hear one utterance.
    Listen,
    /// The ears hear an answer to the answer, without a wake word.
    FollowUp,
    /// The ears drop the utterance being heard.
    StopEars,
    /// Ears and mouth take the new configuration.
    Configure,
    /// Commands halt.
    Halt,
}

/// The spoken turns of a session.
#[derive(Debug)]
pub struct Session {
    mode: Mode,
    /// The utterances that have no outcome yet.
    open: BTreeMap<u64, Phase>,
    /// The last utterance that was dropped.
    dropped: u64,
    /// Number of turns that have not ended.
    turns: usize,
    /// Whether the assistant is speaking.
    is_aloud: bool,
    /// Whether an utterance was answered since the last time without a turn.
    is_answered: bool,
    asked: Asked,
}

/// Whether the next utterance is asked for, where not every one is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    No,
    /// Push to talk.
    Pushed,
    /// The wake word was said, or is not needed for now.
    Awake,
}

/// The state of an utterance without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The person speaks.
    Heard,
    /// The person has spoken.
    Answered,
}

impl Session {
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            open: BTreeMap::new(),
            dropped: 0,
            turns: 0,
            is_aloud: false,
            is_answered: false,
            asked: Asked::No,
        }
    }

    /// What the voice is doing. `hears`: whether a microphone is open, and not muted.
    pub fn state(&self, hears: bool) -> State {
        let waits = match self.mode {
            Mode::Always | Mode::Wake => true,
            Mode::Push => self.asked == Asked::Pushed,
            Mode::Off => false,
        };
        if self.is_hearing() {
            State::Listening
        } else if self.is_aloud {
            State::Speaking
        } else if self.turns > 0 {
            State::Thinking
        } else if self.asked == Asked::Awake {
            State::Listening
        } else if waits && hears {
            State::Waiting
        } else {
            State::Off
        }
    }

    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Utterance(number) => self.begin(number, &mut effects),
            // In mode `push`, only push to talk leads here.
            Input::Awake(true) if self.mode == Mode::Push => {}
            Input::Awake(true) => self.asked = Asked::Awake,
            Input::Awake(false) => self.asked = Asked::No,
            Input::Spotted(Meaning::Wake) => {
                self.interrupt(&mut effects);
                effects.push(Effect::Signal(Earcon::Wake));
            }
            Input::Spotted(Meaning::Halt) => {
                self.obey(Order::Stop, &mut effects);
                effects.push(Effect::Halt);
            }
            Input::EarsCrashed => {
                self.asked = Asked::No;
                effects.push(Effect::BesideSpeech(self.is_aloud));
            }
            Input::Aloud(is_aloud) => {
                self.is_aloud = is_aloud;
                effects.push(Effect::BesideSpeech(is_aloud));
            }
            Input::Turn(event) => self.follow(event, &mut effects),
            Input::Over(utterance) => self.end(utterance, &mut effects),
            Input::Order(order) => self.obey(order, &mut effects),
        }
        effects
    }

    fn begin(&mut self, utterance: u64, effects: &mut Vec<Effect>) {
        if self.is_aloud {
            log::info!(event = "barge-in", utterance = utterance; "a person speaks over the assistant, which stops");
            self.interrupt(effects);
        }
        self.open.insert(utterance, Phase::Heard);
        self.turns += 1;
        effects.push(Effect::Tell(Event::Started { utterance }));
        effects.push(Effect::Begin(utterance));
    }

    fn obey(&mut self, order: Order, effects: &mut Vec<Effect>) {
        self.asked = Asked::No;
        match order {
            Order::Mute(muted) => effects.push(Effect::Mute(muted)),
            Order::Configure(mode) => {
                self.mode = mode;
                effects.push(Effect::Configure);
            }
            Order::Listen => {
                // Speech over the assistant may be the utterance that is wanted.
                if self.is_aloud && !self.is_hearing() {
                    self.interrupt(effects);
                }
                effects.push(Effect::Listen);
                self.asked = Asked::Pushed;
            }
            Order::Stop => {
                effects.push(Effect::StopEars);
                self.interrupt(effects);
            }
        }
    }

    /// Falls silent and drops all turns, because the person wants something else.
    fn interrupt(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Silence);
        effects.push(Effect::AbortTurns);
        self.is_answered = false;
        for (utterance, phase) in std::mem::take(&mut self.open) {
            log::info!(utterance = utterance; "utterance dropped: {phase:?}");
            self.dropped = utterance;
            let error = EngineError::Cancelled;
            effects.push(Effect::Tell(Event::Failed { utterance, error }));
        }
    }

    /// Follows a spoken turn; a cancelled one has had its outcome.
    fn follow(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let is_open = match &event {
            Event::Ended { utterance, .. } => {
                let phase = self.open.get_mut(utterance);
                phase.map(|phase| *phase = Phase::Answered).is_some()
            }
            Event::Reply { utterance, .. } => {
                let is_open = self.open.remove(utterance).is_some();
                self.is_answered |= is_open;
                is_open
            }
            Event::Failed { utterance, error } => {
                let is_open = self.open.remove(utterance).is_some();
                if is_open && *error != EngineError::Cancelled {
                    effects.push(Effect::Signal(Earcon::Error));
                }
                is_open
            }
            Event::Hearing { utterance, .. } | Event::Replying { utterance, .. } => {
                self.open.contains_key(utterance)
            }
            // A transcript may come after the reply, but not after the utterance was dropped.
            Event::Transcript { utterance, .. } => *utterance > self.dropped,
            Event::Started { .. } | Event::Spotted(_) => true,
        };
        if is_open {
            effects.push(Effect::Tell(event));
        }
    }

    /// A turn has ended. One that was not cancelled and told no outcome has panicked.
    fn end(&mut self, utterance: Option<u64>, effects: &mut Vec<Effect>) {
        self.turns -= 1;
        if let Some(utterance) = utterance.filter(|it| self.open.remove(it).is_some()) {
            let error = Panicked.into();
            effects.push(Effect::Tell(Event::Failed { utterance, error }));
        }
        if self.turns == 0 {
            // None is left that could tell an outcome.
            for (utterance, _) in std::mem::take(&mut self.open) {
                let error = Panicked.into();
                effects.push(Effect::Tell(Event::Failed { utterance, error }));
            }
        }
        // A person goes on without the wake word, once all that they said is answered.
        if self.turns == 0 && std::mem::take(&mut self.is_answered) {
            effects.push(Effect::FollowUp);
        }
    }

    /// Whether a person speaks to the assistant.
    fn is_hearing(&self) -> bool {
        self.open.values().any(|phase| *phase == Phase::Heard)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::Stats;

    fn words(effects: &[Effect]) -> Vec<String> {
        let word = |effect: &Effect| match effect {
            Effect::Tell(Event::Started { utterance }) => format!("started {utterance}"),
            Effect::Tell(Event::Reply { utterance, .. }) => format!("reply {utterance}"),
            Effect::Tell(Event::Failed { utterance, error }) => {
                format!("failed {utterance} {error:?}")
            }
            other => format!("{other:?}"),
        };
        effects.iter().map(word).collect()
    }

    fn reply(utterance: u64) -> Input {
        let (text, stats) = ("Yes.".into(), Box::<Stats>::default());
        Input::Turn(Event::Reply {
            utterance,
            text,
            stats,
        })
    }

    fn ended(utterance: u64) -> Input {
        let milliseconds = 500;
        Input::Turn(Event::Ended {
            utterance,
            milliseconds,
        })
    }

    #[test]
    fn a_turn_leads_from_listening_to_thinking_to_speaking_and_to_a_follow_up() {
        let mut session = Session::new(Mode::Wake);
        assert_eq!(session.state(true), State::Waiting);
        assert_eq!(session.state(false), State::Off);
        session.step(Input::Awake(true));
        assert_eq!(session.state(true), State::Listening);
        let begun = session.step(Input::Utterance(1));
        assert_eq!(words(&begun), ["started 1", "Begin(1)"]);
        session.step(Input::Awake(false));
        assert_eq!(session.state(true), State::Listening);
        session.step(ended(1));
        assert_eq!(session.state(true), State::Thinking);
        assert_eq!(
            words(&session.step(Input::Aloud(true))),
            ["BesideSpeech(true)"]
        );
        assert_eq!(session.state(true), State::Speaking);
        assert_eq!(words(&session.step(reply(1))), ["reply 1"]);
        session.step(Input::Aloud(false));
        assert_eq!(words(&session.step(Input::Over(Some(1)))), ["FollowUp"]);
        assert_eq!(session.state(true), State::Waiting);
    }

    #[test]
    fn speech_over_the_assistant_drops_all_turns_and_their_late_replies() {
        let mut session = Session::new(Mode::Always);
        session.step(Input::Utterance(1));
        session.step(ended(1));
        session.step(Input::Aloud(true));
        let effects = session.step(Input::Utterance(2));
        let expected = [
            "Silence",
            "AbortTurns",
            "failed 1 Cancelled",
            "started 2",
            "Begin(2)",
        ];
        assert_eq!(words(&effects), expected);
        assert!(session.step(reply(1)).is_empty());
        assert!(session.step(Input::Over(None)).is_empty());
        assert_eq!(session.state(true), State::Listening);
    }

    #[test]
    fn a_halt_word_silences_and_halts_and_a_turn_without_outcome_has_panicked() {
        let mut session = Session::new(Mode::Always);
        session.step(Input::Utterance(1));
        let effects = session.step(Input::Spotted(Meaning::Halt));
        let expected = [
            "StopEars",
            "Silence",
            "AbortTurns",
            "failed 1 Cancelled",
            "Halt",
        ];
        assert_eq!(words(&effects), expected);
        session.step(Input::Over(None));
        session.step(Input::Utterance(2));
        let failed = words(&session.step(Input::Over(Some(2))));
        assert!(failed[0].starts_with("failed 2"), "{failed:?}");
    }

    #[test]
    fn push_to_talk_interrupts_the_assistant_but_not_the_person() {
        let mut session = Session::new(Mode::Push);
        session.step(Input::Aloud(true));
        let effects = session.step(Input::Order(Order::Listen));
        assert_eq!(words(&effects), ["Silence", "AbortTurns", "Listen"]);
        session.step(Input::Aloud(false));
        assert_eq!(session.state(true), State::Waiting);
        session.step(Input::Utterance(1));
        session.step(Input::Aloud(true));
        assert_eq!(
            words(&session.step(Input::Order(Order::Listen))),
            ["Listen"]
        );
        session.step(Input::Order(Order::Mute(true)));
        session.step(Input::Turn(Event::Failed {
            utterance: 1,
            error: EngineError::Cancelled,
        }));
        session.step(Input::Aloud(false));
        session.step(Input::Over(Some(1)));
        assert_eq!(session.state(false), State::Off);
    }

    /// A move of the world around a session; the number chooses a turn under way.
    #[derive(Debug, Clone, Copy)]
    enum Move {
        Begin,
        End(usize),
        Reply(usize),
        Fail(usize),
        Over(usize),
        Aloud(bool),
        Spotted(bool),
        Order(u8),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let each = prop_oneof![
            4 => Just(Move::Begin),
            3 => (0..4_usize).prop_map(Move::End),
            3 => (0..4_usize).prop_map(Move::Reply),
            1 => (0..4_usize).prop_map(Move::Fail),
            4 => (0..4_usize).prop_map(Move::Over),
            2 => any::<bool>().prop_map(Move::Aloud),
            1 => any::<bool>().prop_map(Move::Spotted),
            2 => (0..4_u8).prop_map(Move::Order),
        ];
        vec(each, 0..60)
    }

    proptest! {
        #[test]
        fn each_utterance_has_one_outcome_and_no_turn_is_left_behind(moves in moves()) {
            let mut session = Session::new(Mode::Always);
            // Utterances under way: whether they were aborted.
            let mut turns: Vec<(u64, bool)> = Vec::new();
            let (mut begun, mut outcomes) = (0, BTreeSet::new());
            let last = (0..200).map(|_| Move::Over(0));
            for it in moves.into_iter().chain(last) {
                let nth = |nth: usize| turns.get(nth).map(|turn| turn.0);
                let input = match it {
                    Move::Begin => {
                        begun += 1;
                        Input::Utterance(begun)
                    }
                    Move::End(at) => match nth(at) {
                        Some(utterance) => ended(utterance),
                        None => continue,
                    },
                    Move::Reply(at) => match nth(at) {
                        Some(utterance) => reply(utterance),
                        None => continue,
                    },
                    Move::Fail(at) => match nth(at) {
                        Some(utterance) => Input::Turn(Event::Failed {
                            utterance,
                            error: EngineError::Stopping,
                        }),
                        None => continue,
                    },
                    Move::Over(at) if at < turns.len() => {
                        let (utterance, was_aborted) = turns.remove(at);
                        // Some panics leave no number either.
                        let has_number = !was_aborted && !utterance.is_multiple_of(5);
                        Input::Over(has_number.then_some(utterance))
                    }
                    Move::Over(_) => continue,
                    Move::Aloud(is_aloud) => Input::Aloud(is_aloud),
                    Move::Spotted(true) => Input::Spotted(Meaning::Wake),
                    Move::Spotted(false) => Input::Spotted(Meaning::Halt),
                    Move::Order(0) => Input::Order(Order::Listen),
                    Move::Order(1) => Input::Order(Order::Stop),
                    Move::Order(2) => Input::Order(Order::Mute(true)),
                    Move::Order(_) => Input::Order(Order::Configure(Mode::Always)),
                };
                for effect in session.step(input) {
                    match effect {
                        Effect::Begin(utterance) => turns.push((utterance, false)),
                        Effect::AbortTurns => turns.iter_mut().for_each(|it| it.1 = true),
                        Effect::Tell(
                            Event::Reply { utterance, .. } | Event::Failed { utterance, .. },
                        ) => {
                            prop_assert!(outcomes.insert(utterance), "{utterance} has two");
                        }
                        _ => {}
                    }
                }
                prop_assert_eq!(session.turns, turns.len());
                let has_one = |it: &u64| session.open.contains_key(it) != outcomes.contains(it);
                prop_assert!((1..=begun).all(|it| has_one(&it)));
            }
            prop_assert_eq!(outcomes.len() as u64, begun);
            session.step(Input::Aloud(false));
            session.step(Input::Order(Order::Stop));
            prop_assert_eq!(session.state(true), State::Waiting);
        }
    }
}
