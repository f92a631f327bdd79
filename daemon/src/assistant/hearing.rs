//! What a turn does while its utterance is heard, as pure steps: inputs go in, effects come out. The engine works on one
//! thing at a time; steps of the utterance that come meanwhile wait here.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::EngineError;
use crate::listen::Sense;
use crate::listen::utterance::{Pause, Speech};

/// An event that the turn has to react to.
#[derive(Debug)]
pub enum Input {
    /// A step of the utterance.
    Speech(Speech),
    /// The listener has dropped the utterance.
    Dropped,
    /// The engine has opened the turn, or has begun the answers.
    Ready,
    /// The engine has failed.
    Failed(EngineError),
    /// The answer that was begun at the present pause shows whether the words are complete.
    Sensed(Sense),
}

/// An effect to be carried out, in order.
#[derive(Debug)]
pub enum Effect {
    /// The utterance is over, and has this many samples.
    TellEnd(usize),
    /// Sound for the engine.
    Push(Vec<f32>),
    /// The answers are begun; the last sample of speech was captured at that time. [`Input::Ready`] or
    /// [`Input::Failed`] follows.
    Ask(Instant),
    /// The answers that were begun are dropped.
    Drop,
    /// The listener is told whether the words are complete.
    Understand(Pause, Sense),
    /// All sound was pushed.
    Heard,
    /// Nothing more is pushed or asked. After a failure of the engine only [`Effect::TellEnd`] may follow.
    Conclude(Conclusion),
}

/// How hearing ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// The answers are begun.
    Answer,
    /// The utterance was dropped.
    Cancelled,
    /// The engine failed.
    Failed(EngineError),
}

/// The progress of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It opens the turn, or begins answers.
    Busy,
    /// It takes sound.
    Ready,
    /// It has failed: sound is of no use any more.
    Failed,
}

/// The hearing of one utterance.
#[derive(Debug)]
pub struct Hearing {
    engine: Progress,
    /// Steps that came while the engine was busy.
    waiting: VecDeque<Speech>,
    /// Whether answers are begun, or are about to be.
    has_answers: bool,
    /// The pause at which they were.
    pause: Option<Pause>,
    /// Samples so far.
    samples: usize,
    /// Whether the end has come, waiting or not.
    is_over: bool,
}

impl Hearing {
    /// Begins while the engine opens the turn.
    pub fn new() -> Self {
        Self {
            engine: Progress::Busy,
            waiting: VecDeque::new(),
            has_answers: false,
            pause: None,
            samples: 0,
            is_over: false,
        }
    }

    /// Whether the sense of the words before the present pause is of use.
    pub fn awaits_sense(&self) -> bool {
        self.pause.is_some() && self.engine == Progress::Ready
    }

    /// Whether a person speaks, and the engine does nothing for the turn but hear.
    pub fn only_hears(&self) -> bool {
        self.engine == Progress::Ready && !self.has_answers && !self.is_over
    }

    /// Whether the whole utterance has come.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes an input. `speculates` says whether answers may be begun before the end is certain.
    pub fn step(&mut self, input: Input, speculates: impl Fn() -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Speech(speech) => self.receive(speech, &mut effects),
            Input::Dropped => return vec![Effect::Conclude(Conclusion::Cancelled)],
            Input::Ready => self.engine = Progress::Ready,
            Input::Failed(error) => {
                self.engine = Progress::Failed;
                self.waiting.clear();
                return vec![Effect::Conclude(Conclusion::Failed(error))];
            }
            Input::Sensed(sense) => {
                let pause = self.pause.take();
                effects.extend(pause.map(|pause| Effect::Understand(pause, sense)));
            }
        }
        while self.engine == Progress::Ready
            && let Some(speech) = self.waiting.pop_front()
        {
            self.follow(speech, &speculates, &mut effects);
        }
        if self.is_over && self.waiting.is_empty() && self.engine == Progress::Ready {
            effects.push(Effect::Conclude(Conclusion::Answer));
        }
        effects
    }

    /// Takes in a step. Its end is told as it comes, whatever the engine is busy with.
    fn receive(&mut self, speech: Speech, effects: &mut Vec<Effect>) {
        match &speech {
            Speech::Sound(sound) => self.samples += sound.len(),
            Speech::Ended(_) => {
                self.is_over = true;
                effects.push(Effect::TellEnd(self.samples));
            }
            Speech::Paused(_) | Speech::Resumed => {}
        }
        if self.engine != Progress::Failed {
            self.waiting.push_back(speech);
        }
    }

    fn follow(
        &mut self,
        speech: Speech,
        speculates: &impl Fn() -> bool,
        effects: &mut Vec<Effect>,
    ) {
        match speech {
            Speech::Sound(sound) => effects.push(Effect::Push(sound)),
            Speech::Paused(pause) => {
                // A pause that is over already is no reason to begin.
                if self.waiting.is_empty() && speculates() {
                    self.ask(pause.at, effects);
                    self.pause = Some(pause);
                }
            }
            Speech::Resumed => {
                self.pause = None;
                if std::mem::take(&mut self.has_answers) {
                    effects.push(Effect::Drop);
                }
            }
            Speech::Ended(at) => {
                self.pause = None;
                effects.push(Effect::Heard);
                if !self.has_answers {
                    self.ask(at, effects);
                }
            }
        }
    }

    fn ask(&mut self, at: Instant, effects: &mut Vec<Effect>) {
        self.has_answers = true;
        self.engine = Progress::Busy;
        effects.push(Effect::Ask(at));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::listen::utterance::{Telling, Utterance};

    /// The effects as words; sound as its first sample.
    fn words(effects: &[Effect]) -> Vec<String> {
        let word = |effect: &Effect| match effect {
            Effect::TellEnd(samples) => format!("end {samples}"),
            Effect::Push(sound) => format!("push {}", sound[0]),
            Effect::Ask(_) => "ask".into(),
            Effect::Drop => "drop".into(),
            Effect::Heard => "heard".into(),
            Effect::Understand(_, sense) => format!("{sense:?}"),
            Effect::Conclude(conclusion) => format!("{conclusion:?}"),
        };
        effects.iter().map(word).collect()
    }

    /// A hearing, and the listener's end of its utterance.
    struct Room {
        hearing: Hearing,
        telling: Option<Telling>,
        utterance: Utterance,
        at: Instant,
    }

    impl Room {
        fn new() -> Self {
            let (telling, utterance) = Telling::begin(1, Instant::now());
            Self {
                hearing: Hearing::new(),
                telling: Some(telling),
                utterance,
                at: Instant::now(),
            }
        }

        fn step(&mut self, input: Input) -> Vec<String> {
            words(&self.hearing.step(input, || true))
        }

        /// What the listener tells reaches the hearing.
        fn tell(&mut self, tell: impl FnOnce(&mut Option<Telling>, Instant)) -> Vec<String> {
            tell(&mut self.telling, self.at);
            let next = futures_util::FutureExt::now_or_never(self.utterance.next());
            self.step(next.flatten().map_or(Input::Dropped, Input::Speech))
        }

        fn sound(&mut self, sample: f32) -> Vec<String> {
            self.tell(|it, _| it.as_ref().unwrap().sound(vec![sample; 10]))
        }

        fn pause(&mut self) -> Vec<String> {
            self.tell(|it, at| it.as_mut().unwrap().pause(at))
        }

        fn resume(&mut self) -> Vec<String> {
            self.tell(|it, _| it.as_mut().unwrap().resume())
        }

        fn end(&mut self) -> Vec<String> {
            self.tell(|it, at| it.take().unwrap().end(at))
        }
    }

    #[test]
    fn an_answer_begun_at_a_pause_is_there_at_the_end_unless_the_person_goes_on() {
        let mut room = Room::new();
        assert_eq!(room.sound(1.0), [] as [&str; 0]);
        assert_eq!(room.step(Input::Ready), ["push 1"]);
        assert_eq!(room.pause(), ["ask"]);
        assert_eq!(room.step(Input::Ready), [] as [&str; 0]);
        assert_eq!(room.resume(), ["drop"]);
        assert_eq!(room.sound(2.0), ["push 2"]);
        assert_eq!(room.pause(), ["ask"]);
        assert_eq!(room.step(Input::Ready), [] as [&str; 0]);
        assert!(room.hearing.awaits_sense());
        assert_eq!(room.step(Input::Sensed(Sense::Complete)), ["Complete"]);
        assert!(!room.hearing.awaits_sense());
        assert_eq!(room.end(), ["end 20", "heard", "Answer"]);
    }

    #[test]
    fn a_pause_that_is_over_when_the_engine_has_time_begins_no_answer() {
        let mut room = Room::new();
        room.sound(1.0);
        room.pause();
        room.resume();
        room.sound(2.0);
        assert_eq!(room.end(), ["end 20"]);
        assert_eq!(
            room.step(Input::Ready),
            ["push 1", "push 2", "heard", "ask"]
        );
        assert_eq!(room.step(Input::Ready), ["Answer"]);
    }

    #[test]
    fn after_a_failure_nothing_is_pushed_and_only_the_end_is_told() {
        let mut room = Room::new();
        room.sound(1.0);
        let failed = room.step(Input::Failed(EngineError::Stopping));
        assert_eq!(failed, ["Failed(Stopping)"]);
        assert_eq!(room.sound(2.0), [] as [&str; 0]);
        assert_eq!(room.end(), ["end 20"]);
        let mut room = Room::new();
        room.step(Input::Ready);
        assert_eq!(room.tell(|it, _| *it = None), ["Cancelled"]);
    }

    #[derive(Debug, Clone, Copy)]
    enum Move {
        Sound,
        Pause,
        Resume,
        Ready,
        Sense,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let each = prop_oneof![
            4 => Just(Move::Sound),
            2 => Just(Move::Pause),
            1 => Just(Move::Resume),
            3 => Just(Move::Ready),
            1 => Just(Move::Sense),
        ];
        vec(each, 0..40)
    }

    proptest! {
        /// The reference: all sound in order, then one request for answers that no pushed sound follows.
        #[test]
        fn all_sound_comes_before_the_answer_that_counts(moves in moves(), speculates: bool) {
            let mut room = Room::new();
            let (mut busy, mut is_paused, mut sounds) = (true, false, 0_u16);
            let mut effects = Vec::new();
            let mut carry = |room: &mut Room, input: Input, busy: &mut bool| {
                let new = room.hearing.step(input, || speculates);
                let asked = new.iter().filter(|it| matches!(it, Effect::Ask(_))).count();
                assert!(asked <= usize::from(!*busy), "{new:?}");
                *busy |= asked > 0;
                effects.extend(words(&new));
            };
            for it in moves {
                match it {
                    Move::Ready if busy => {
                        busy = false;
                        carry(&mut room, Input::Ready, &mut busy);
                        continue;
                    }
                    Move::Sense if room.hearing.awaits_sense() => {
                        carry(&mut room, Input::Sensed(Sense::Complete), &mut busy);
                        continue;
                    }
                    Move::Sound if !is_paused => {
                        sounds += 1;
                        room.telling.as_ref().unwrap().sound(vec![sounds.into(); 10]);
                    }
                    Move::Pause if !is_paused => {
                        is_paused = true;
                        let at = room.at + Duration::from_millis(sounds.into());
                        room.telling.as_mut().unwrap().pause(at);
                    }
                    Move::Resume if is_paused => {
                        is_paused = false;
                        room.telling.as_mut().unwrap().resume();
                    }
                    Move::Ready | Move::Sense | Move::Sound | Move::Pause | Move::Resume => continue,
                }
                let speech = futures_util::FutureExt::now_or_never(room.utterance.next());
                carry(&mut room, Input::Speech(speech.flatten().unwrap()), &mut busy);
            }
            let at = room.at;
            carry(&mut room, Input::Speech(Speech::Ended(at)), &mut busy);
            while busy {
                busy = false;
                carry(&mut room, Input::Ready, &mut busy);
            }
            let pushed: Vec<_> = effects.iter().filter(|it| it.starts_with("push")).collect();
            let said: Vec<_> = (1..=sounds).map(|nth| format!("push {nth}")).collect();
            prop_assert_eq!(pushed, said.iter().collect::<Vec<_>>());
            prop_assert_eq!(effects.iter().filter(|it| *it == "Answer").count(), 1);
            prop_assert_eq!(effects.last().map(String::as_str), Some("Answer"));
            let count = |word: &str| effects.iter().filter(|it| *it == word).count();
            prop_assert_eq!(count("ask"), count("drop") + 1, "{:?}", effects);
            let last_ask = effects.iter().rposition(|it| it == "ask");
            let last_push = effects.iter().rposition(|it| it.starts_with("push"));
            prop_assert!(last_ask > last_push, "{effects:?}");
            prop_assert!(speculates || count("ask") == 1);
        }
    }
}
