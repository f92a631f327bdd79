//! Does somebody speak over the assistant? A guess within a tenth of a second, to be made sure of while it pauses.
//!
//! Voice activity detection takes 100 to 200 ms to be sure, and twice as long over an echo, of which much is
//! suppressed. A pause costs little if the guess was wrong, and while it lasts there is no echo to be mistaken for
//! somebody: whoever is heard then is somebody, even where the echo was not taken out well.

use earshot::Detector;

use super::echo::Cleaned;
use super::resample::samples;
use super::vad::FRAME;

/// Most that is left of its own voice where nobody else speaks, in dB of what was captured: measured in simulated rooms
/// are -20 once AEC3 knows the room, and where somebody speaks as loudly as the echo, -20 to -6 from 100 ms on.
const LEFT: f32 = -15.0;

/// Nobody who wants to be heard is quieter, in dB of full scale; between two words it is that quiet.
const QUIET: f32 = -50.0;

/// Probability of speech in what the linear filter leaves, which is also a little of its own voice.
const SPEECH: f32 = 0.5;

/// Frames of 16 ms for which both have to be so.
const FRAMES: usize = 2;

/// How long the assistant pauses at most, in ms, for somebody to be heard.
const PAUSE_MS: u32 = 704;

/// How long after the pause began its last sound may still be heard, in ms: the buffers of loudspeaker and microphone, and
/// most of what the room gives back.
const ECHO_MS: u32 = 240;

/// How long after a pause in which nobody was heard there is no other, in ms; each time in one speech twice as long. What
/// was mistaken for somebody is so again, and an assistant that stutters is worse than one that is a little slow to stop.
const PATIENCE_MS: u32 = 1000;

/// Powers of a frame.
#[derive(Debug, Clone, Copy, Default)]
struct Powers {
    captured: f32,
    suppressed: f32,
}

/// Follows what the canceller leaves, while the assistant speaks.
pub(super) struct Interruption {
    detector: Box<Detector>,
    /// What fills no frame yet.
    rest: Cleaned,
    before: Powers,
    /// Frames in which somebody seemed to speak.
    evidence: usize,
    /// Samples that the pause may still take, if there is one.
    pause: Option<usize>,
    /// Samples until there may be another, and how many it will be next time.
    patience: usize,
    next_patience: usize,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    /// Somebody seems to speak: pause.
    Somebody,
    /// The assistant's own voice is gone: whoever speaks now is somebody.
    Quiet,
    /// It was nobody: go on.
    Nobody,
}

impl Interruption {
    pub(super) fn new() -> Self {
        Self {
            detector: Box::default(),
            rest: Cleaned::default(),
            before: Powers::default(),
            evidence: 0,
            pause: None,
            patience: 0,
            next_patience: samples(PATIENCE_MS),
        }
    }

    /// Hears the next sound. `is_person` says whether somebody at so many dB of full scale may interrupt.
    pub(super) fn hear(
        &mut self,
        sound: &Cleaned,
        is_person: impl Fn(f32) -> bool,
    ) -> Option<Guess> {
        let length = self.rest.captured.len() + sound.captured.len();
        self.rest.captured.extend_from_slice(&sound.captured);
        self.rest.linear.extend_from_slice(&sound.linear);
        self.rest.suppressed.extend_from_slice(&sound.suppressed);
        let mut guess = None;
        let rest = std::mem::take(&mut self.rest);
        for begin in (0..length / FRAME * FRAME).step_by(FRAME) {
            let frame = begin..begin + FRAME;
            let powers = Powers {
                captured: power(&rest.captured[frame.clone()]),
                suppressed: power(&rest.suppressed[frame.clone()]),
            };
            guess = self
                .judge(&rest.linear[frame], powers, &is_person)
                .or(guess);
        }
        let whole = length / FRAME * FRAME;
        let Cleaned {
            captured,
            linear,
            suppressed,
        } = rest;
        let left = |mut sound: Vec<f32>| {
            sound.drain(..whole);
            sound
        };
        self.rest = Cleaned {
            captured: left(captured),
            linear: left(linear),
            suppressed: left(suppressed),
        };
        guess
    }

    fn judge(
        &mut self,
        linear: &[f32],
        powers: Powers,
        is_person: impl Fn(f32) -> bool,
    ) -> Option<Guess> {
        let mut frame = [0.0; FRAME];
        for (sample, linear) in frame.iter_mut().zip(linear) {
            *sample = linear.clamp(-1.0, 1.0);
        }
        let probability = self.detector.predict_f32(&frame);
        let before = std::mem::replace(&mut self.before, powers);
        let captured = decibels(before.captured + powers.captured);
        let left = decibels(before.suppressed + powers.suppressed);
        let is_loud = left > QUIET && left - captured > LEFT;
        let is_somebody = probability >= SPEECH && is_loud && is_person(left);
        self.evidence = if is_somebody { self.evidence + 1 } else { 0 };
        self.patience = self.patience.saturating_sub(FRAME);
        match &mut self.pause {
            Some(left) if *left > FRAME => {
                *left -= FRAME;
                let quiet = samples(PAUSE_MS - ECHO_MS);
                if (quiet..quiet + FRAME).contains(left) {
                    return Some(Guess::Quiet);
                }
            }
            Some(_) => {
                self.pause = None;
                self.patience = self.next_patience;
                self.next_patience *= 2;
                return Some(Guess::Nobody);
            }
            None if self.evidence >= FRAMES && self.patience == 0 => {
                self.pause = Some(samples(PAUSE_MS));
                return Some(Guess::Somebody);
            }
            None => {}
        }
        None
    }
}

fn power(frame: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let count = frame.len() as f32;
    frame.iter().map(|sample| sample * sample).sum::<f32>() / count
}

/// Of the mean of two powers.
fn decibels(sum: f32) -> f32 {
    10.0 * (sum / 2.0).max(1e-10).log10()
}
