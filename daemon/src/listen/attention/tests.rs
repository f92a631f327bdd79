//! The attention under simulated time: alone, and against a reference that reads the whole history.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn voice(mode: Mode) -> config::Voice {
    config::Voice {
        mode,
        ..config::Voice::default()
    }
}

/// An attention and the time, which begins at 0.
struct Simulation {
    attention: Attention,
    begin: Instant,
}

impl Simulation {
    fn new(voice: &config::Voice) -> Self {
        Self {
            attention: Attention::new(voice, false),
            begin: Instant::now(),
        }
    }

    /// Takes `input`, `at` ms after the beginning.
    fn at(&mut self, at: u64, input: Input) -> Vec<Effect> {
        self.attention.step(self.begin + ms(at), input)
    }

    fn use_of_sound(&self) -> Use {
        self.attention.use_of_sound(false)
    }
}

const PASSED: Input = Input::Passed { is_heard: false };

#[test]
fn push_to_talk_waits_for_one_utterance_and_is_given_up_after_a_while() {
    let mut it = Simulation::new(&voice(Mode::Push));
    assert!(!it.attention.wants_microphone());
    let effects = it.at(0, Input::Listen);
    assert_eq!(
        effects,
        [Effect::Await(Speaker::Anybody), Effect::Awake(true)]
    );
    assert!(it.attention.wants_microphone());
    assert_eq!(it.at(5999, PASSED), []);
    assert_eq!(it.use_of_sound(), Use::Utterance);
    assert_eq!(it.at(6000, PASSED), [Effect::Awake(false)]);
    assert_eq!(it.use_of_sound(), Use::Background);

    it.at(7000, Input::Listen);
    assert_eq!(it.at(14_000, Input::Passed { is_heard: true }), []);
    let effects = it.at(15_000, Input::Ended);
    assert_eq!(effects, [Effect::Forget, Effect::Awake(false)]);
}

#[test]
fn a_muted_microphone_is_closed_and_takes_no_wishes() {
    for mode in [Mode::Always, Mode::Wake, Mode::Push, Mode::Off] {
        let mut it = Simulation::new(&voice(mode));
        it.at(0, Input::Listen);
        let effects = it.at(10, Input::Mute(true));
        assert!(effects.contains(&Effect::Drop), "{mode:?}");
        assert_eq!(it.at(20, Input::Listen), []);
        assert_eq!(it.at(30, Input::FollowUp), []);
        assert!(!it.attention.wants_microphone(), "{mode:?}");
    }
}

#[test]
fn after_the_assistant_has_spoken_its_echo_is_still_not_heard_for_a_moment() {
    let mut it = Simulation::new(&voice(Mode::Always));
    let effects = it.at(0, Input::Speaking);
    assert_eq!(effects, [Effect::Drop, Effect::Bar(true)]);
    assert_eq!(it.use_of_sound(), Use::None);
    assert_eq!(it.at(1000, Input::Silent), [Effect::Hold(false)]);
    assert_eq!(it.at(1299, PASSED), []);
    assert_eq!(it.use_of_sound(), Use::None);
    assert_eq!(it.at(1300, PASSED), [Effect::Bar(false)]);
    assert_eq!(it.use_of_sound(), Use::Utterance);
}

#[test]
fn the_assistant_is_interrupted_where_its_echo_is_cancelled() {
    let mut it = Simulation::new(&voice(Mode::Always));
    it.at(0, Input::Speaking);
    assert!(!it.attention.hears_over_speech());
    it.at(10, Input::Canceller(true));
    assert!(it.attention.hears_over_speech() && it.attention.may_be_interrupted());
    assert_eq!(it.use_of_sound(), Use::Utterance);
    let effects = it.at(20, Input::Guessed(Guess::Somebody));
    assert_eq!(effects, [Effect::Guess, Effect::Hold(true)]);
    let effects = it.at(700, Input::Guessed(Guess::Nobody));
    assert_eq!(effects, [Effect::Bar(true), Effect::Hold(false)]);
}

/// The inputs of the property test.
const INPUTS: [Input; 14] = [
    Input::Mute(true),
    Input::Mute(false),
    Input::Listen,
    Input::FollowUp,
    Input::Stop,
    Input::Wake,
    Input::Speaking,
    Input::Silent,
    Input::Canceller(true),
    Input::Canceller(false),
    Input::Lost,
    Input::Ended,
    PASSED,
    Input::Passed { is_heard: true },
];

/// The reference: no state, only the history of inputs with their times in ms.
struct History<'a> {
    voice: &'a config::Voice,
    past: &'a [(u64, Input)],
}

impl History<'_> {
    fn is_muted(&self) -> bool {
        let mut past = self.past.iter().rev();
        past.any(|it| it.1 == Input::Mute(true))
            && !past_after(self.past, Input::Mute(true)).any(|it| it.1 == Input::Mute(false))
    }

    /// Whether a wish for an utterance is open.
    fn is_asked(&self) -> bool {
        (0..self.past.len()).any(|nth| {
            let (at, kind) = self.past[nth];
            let before = History {
                past: &self.past[..nth],
                ..*self
            };
            let within = match (kind, self.voice.mode) {
                (Input::Listen, Mode::Push | Mode::Wake) if !before.is_muted() => {
                    self.voice.awake_ms.get()
                }
                (Input::FollowUp, Mode::Wake) if !before.is_muted() => {
                    self.voice.follow_up_ms.get()
                }
                (Input::Wake, _) => self.voice.awake_ms.get(),
                _ => 0,
            };
            let end = at + u64::from(within);
            within > 0
                && !self.past[nth + 1..].iter().any(|&(at, kind)| match kind {
                    Input::Mute(_) | Input::Stop => true,
                    Input::Ended => self.voice.mode != Mode::Always,
                    Input::Lost => self.voice.mode == Mode::Wake,
                    // A later wish counts for itself.
                    PASSED => at >= end,
                    _ => false,
                })
        })
    }

    /// Whether captured sound may hold the assistant's voice.
    fn is_aloud(&self) -> bool {
        let Some(begun) = self.past.iter().rposition(|it| it.1 == Input::Speaking) else {
            return false;
        };
        let after = &self.past[begun + 1..];
        let ended = |it: &&(u64, Input)| matches!(it.1, Input::Silent | Input::Wake);
        let Some((end, _)) = after.iter().find(ended) else {
            return true;
        };
        let mut passed = after.iter().skip_while(|it| !ended(it));
        !passed.any(|(at, kind)| matches!(kind, Input::Passed { .. }) && *at >= end + 300)
    }

    fn is_cancelled(&self) -> bool {
        let mut past = self.past.iter().rev();
        let last = past.find(|it| matches!(it.1, Input::Canceller(_)));
        self.voice.barge_in && last.is_some_and(|it| it.1 == Input::Canceller(true))
    }

    fn use_of_sound(&self) -> Use {
        let is_asked = self.is_asked() || self.voice.mode == Mode::Always;
        let follows_up = self.voice.mode == Mode::Wake && self.voice.follow_up_ms.get() > 0;
        match (self.is_aloud(), self.is_cancelled()) {
            (false, _) if is_asked => Use::Utterance,
            (false, _) => Use::Background,
            (true, true) if is_asked || follows_up => Use::Utterance,
            (true, _) => Use::None,
        }
    }
}

/// The inputs after the last one of this kind.
fn past_after(past: &[(u64, Input)], kind: Input) -> impl Iterator<Item = &(u64, Input)> {
    let nth = past.iter().rposition(|it| it.1 == kind);
    past[nth.map_or(0, |nth| nth + 1)..].iter()
}

/// What a listener has been told by the effects of a history.
#[derive(Debug, Default)]
struct Told {
    is_awake: bool,
    is_barred: bool,
}

fn voices() -> impl Strategy<Value = config::Voice> {
    let modes = select(vec![Mode::Always, Mode::Wake, Mode::Push, Mode::Off]);
    let follow_ups = select(vec![
        config::Bounded::within(0),
        config::Bounded::within(3000),
    ]);
    (modes, any::<bool>(), follow_ups).prop_map(|(mode, barge_in, follow_up_ms)| config::Voice {
        mode,
        follow_up_ms,
        barge_in,
        ..config::Voice::default()
    })
}

proptest! {
    #[test]
    fn in_any_order_of_events_it_hears_as_the_history_says(
        voice in voices(),
        steps in vec((0..2500_u64, select(INPUTS.to_vec())), 0..40),
    ) {
        let mut it = Simulation::new(&voice);
        let (mut past, mut now, mut told) = (vec![], 0, Told::default());
        for (later, input) in steps {
            now += later;
            past.push((now, input));
            for effect in it.at(now, input) {
                match effect {
                    Effect::Awake(is_awake) => told.is_awake = is_awake,
                    Effect::Bar(is_barred) => told.is_barred = is_barred,
                    _ => {}
                }
            }
            let history = History { voice: &voice, past: &past };
            prop_assert_eq!(it.use_of_sound(), history.use_of_sound(), "{:?}", &past);
            prop_assert_eq!(told.is_awake, history.is_asked(), "{:?}", &past);
            prop_assert_eq!(told.is_barred, history.is_aloud(), "{:?}", &past);
            if history.is_muted() {
                prop_assert!(!it.attention.wants_microphone(), "{:?}", &past);
            }
        }
    }
}
