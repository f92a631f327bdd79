//! The player under simulated time, at a loudspeaker that plays into a list.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::sync::{mpsc, oneshot, watch};

use super::super::queue::Kind;
use super::super::spoken::Spoken;
use super::*;

/// Samples a second of the loudspeaker and of all sounds.
const RATE: u32 = 1000;

/// A loudspeaker with room for half a second, which plays as time passes.
struct Loudspeaker {
    now: Instant,
    /// Samples that wait.
    ring: Vec<f32>,
    /// Samples that were played.
    played: Vec<f32>,
    written: u64,
    /// When the last sample was played.
    last: Instant,
}

impl Loudspeaker {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            ring: vec![],
            played: vec![],
            written: 0,
            last: now,
        }
    }

    /// Lets time pass, 1 ms for each sample.
    fn pass(&mut self, milliseconds: usize) {
        let count = milliseconds.min(self.ring.len());
        self.played.extend(self.ring.drain(..count));
        if count > 0 {
            self.last = self.now + ms(count);
        }
        self.now += ms(milliseconds);
    }
}

impl Output for Loudspeaker {
    fn rate(&self) -> u32 {
        RATE
    }

    fn write(&mut self, samples: &[f32]) -> usize {
        let count = samples.len().min(500 - self.ring.len());
        self.ring.extend_from_slice(&samples[..count]);
        self.written += count as u64;
        count
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn has_reached(&self, position: u64) -> bool {
        self.written - self.ring.len() as u64 > position
    }

    fn heard(&self) -> Option<Instant> {
        self.ring.is_empty().then_some(self.last)
    }

    fn cut(&mut self) {
        self.ring.clear();
    }
}

fn ms(milliseconds: usize) -> Duration {
    Duration::from_millis(milliseconds as u64)
}

/// The other end of a speech.
struct Speaking {
    pieces: Option<mpsc::Sender<Piece>>,
    outcome: oneshot::Receiver<Result<(), SpeechError>>,
}

impl Speaking {
    /// A sentence of `length` samples of this value.
    fn say(&self, value: f32, length: usize) {
        let pieces = self.pieces.as_ref().unwrap();
        let sound = Sound {
            rate: RATE,
            channels: 1,
            samples: vec![value; length],
        };
        // A speech that was stopped takes nothing.
        let _ = pieces.try_send(Piece::Sentence(String::new()));
        let _ = pieces.try_send(Piece::Sound(sound));
    }

    fn finish(&mut self) {
        self.pieces = None;
    }

    fn outcome(&mut self) -> Option<Result<(), SpeechError>> {
        self.outcome.try_recv().ok()
    }
}

fn begin(player: &mut Player, id: u64, kind: Kind) -> Speaking {
    let (pieces, received) = mpsc::channel(100);
    let (done, outcome) = oneshot::channel();
    player.say(Speech {
        id,
        kind,
        volume: 1.0,
        pieces: received,
        spoken: Spoken::default(),
        turn: watch::Sender::new(false),
        done,
        is_written: false,
    });
    Speaking {
        pieces: Some(pieces),
        outcome,
    }
}

/// Plays for this time, in steps of 10 ms.
fn play(player: &mut Player, loudspeaker: &mut Loudspeaker, milliseconds: usize) {
    for _ in 0..milliseconds / 10 {
        player.play(loudspeaker.now, Some(loudspeaker), None);
        loudspeaker.pass(10);
    }
    player.play(loudspeaker.now, Some(loudspeaker), None);
}

/// The values that were played, each once for a run of samples.
fn runs(loudspeaker: &Loudspeaker) -> Vec<f32> {
    let mut runs = loudspeaker.played.clone();
    runs.dedup();
    runs
}

#[test]
fn a_speech_is_over_when_its_last_sample_was_heard() {
    let (mut player, mut loudspeaker) = (Player::default(), Loudspeaker::new());
    let mut speech = begin(&mut player, 1, Kind::Answer);
    speech.say(0.5, 700);
    speech.finish();
    play(&mut player, &mut loudspeaker, 690);
    assert!(player.is_speaking());
    assert_eq!(speech.outcome(), None);
    play(&mut player, &mut loudspeaker, 20);
    assert_eq!(speech.outcome(), Some(Ok(())));
    assert!(!player.is_speaking() && player.is_empty());
    assert_eq!(loudspeaker.played, [0.5; 700]);
}

#[test]
fn a_wish_lets_an_answer_go_first_at_the_end_of_its_sentence_and_goes_on_behind_it() {
    let (mut player, mut loudspeaker) = (Player::default(), Loudspeaker::new());
    let mut wish = begin(&mut player, 1, Kind::Wish);
    wish.say(0.1, 300);
    play(&mut player, &mut loudspeaker, 100);
    let mut answer = begin(&mut player, 2, Kind::Answer);
    answer.say(0.2, 100);
    answer.finish();
    wish.say(0.3, 100);
    wish.finish();
    play(&mut player, &mut loudspeaker, 1000);
    assert_eq!(runs(&loudspeaker), [0.1, 0.2, 0.3]);
    assert_eq!(
        (wish.outcome(), answer.outcome()),
        (Some(Ok(())), Some(Ok(())))
    );
}

#[test]
fn a_speech_that_is_stopped_falls_silent_at_once_and_the_next_one_sounds() {
    let (mut player, mut loudspeaker) = (Player::default(), Loudspeaker::new());
    let mut speeches = [1, 2].map(|id| begin(&mut player, id, Kind::Wish));
    for (value, speech) in [0.1, 0.2].into_iter().zip(&mut speeches) {
        speech.say(value, 400);
        speech.finish();
    }
    play(&mut player, &mut loudspeaker, 100);
    player.stop(Some(1), Some(&mut loudspeaker));
    assert_eq!(speeches[0].outcome(), Some(Err(SpeechError::Stopped)));
    assert_eq!(loudspeaker.played.len(), 100);
    play(&mut player, &mut loudspeaker, 1000);
    assert_eq!(runs(&loudspeaker), [0.1, 0.2]);
    assert_eq!(speeches[1].outcome(), Some(Ok(())));
}

#[test]
fn a_speech_without_a_loudspeaker_waits_two_seconds_where_there_is_a_reason() {
    let now = Instant::now();
    for problem in [Some("it is not plugged in"), None] {
        let mut player = Player::default();
        let mut speech = begin(&mut player, 1, Kind::Answer);
        let mut wait = |later| player.play(now + later, None::<&mut Loudspeaker>, problem);
        wait(Duration::ZERO);
        wait(PATIENCE * 99 / 100);
        assert_eq!(speech.outcome(), None);
        wait(PATIENCE);
        let error = problem.map(|it| Err(SpeechError::NoLoudspeaker(it.into())));
        assert_eq!(speech.outcome(), error);
    }
}

/// A step of the property test.
#[derive(Debug, Clone, Copy)]
enum Step {
    Say(Kind),
    /// Adds a sentence to the speech of this place among all.
    Sentence(usize),
    Finish(usize),
    Stop(usize),
    StopAll,
    Pass(usize),
    /// The loudspeaker is another one.
    Replug,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = select(vec![Kind::Answer, Kind::Wish, Kind::Earcon]);
    let step = prop_oneof![
        3 => kind.prop_map(Step::Say),
        6 => (0..20_usize).prop_map(Step::Sentence),
        3 => (0..20_usize).prop_map(Step::Finish),
        1 => (0..20_usize).prop_map(Step::Stop),
        1 => Just(Step::StopAll),
        6 => (0..40_usize).prop_map(|it| Step::Pass(10 * it)),
        1 => Just(Step::Replug),
    ];
    vec(step, 0..60)
}

proptest! {
    #[test]
    fn in_any_order_of_events_every_speech_that_is_finished_has_one_outcome(steps in steps()) {
        let (mut player, mut loudspeaker) = (Player::default(), Loudspeaker::new());
        let mut speeches: Vec<Speaking> = vec![];
        let mut outcomes = vec![];
        let mut id = 0;
        for step in steps {
            match step {
                Step::Say(kind) => {
                    id += 1;
                    speeches.push(begin(&mut player, id, kind));
                    outcomes.push(None);
                }
                Step::Sentence(nth) => {
                    if let Some(speech) = speeches.get(nth).filter(|it| it.pieces.is_some()) {
                        speech.say(0.01, 50);
                    }
                }
                Step::Finish(nth) => {
                    if let Some(speech) = speeches.get_mut(nth) {
                        speech.finish();
                    }
                }
                Step::Stop(nth) => player.stop(Some(nth as u64 + 1), Some(&mut loudspeaker)),
                Step::StopAll => player.stop(None, Some(&mut loudspeaker)),
                Step::Pass(milliseconds) => play(&mut player, &mut loudspeaker, milliseconds),
                Step::Replug => {
                    let now = loudspeaker.now;
                    loudspeaker = Loudspeaker { now, last: now, ..Loudspeaker::new() };
                    player.begin_anew();
                }
            }
            for (speech, outcome) in speeches.iter_mut().zip(&mut outcomes) {
                if let Some(new) = speech.outcome() {
                    prop_assert!(outcome.is_none());
                    *outcome = Some(new);
                }
            }
        }
        for speech in &mut speeches {
            speech.finish();
        }
        play(&mut player, &mut loudspeaker, 60_000);
        prop_assert!(player.is_empty() && !player.is_speaking());
        for (speech, outcome) in speeches.iter_mut().zip(&mut outcomes) {
            prop_assert_eq!(1, usize::from(outcome.is_some()) + usize::from(speech.outcome().is_some()));
        }
    }
}
