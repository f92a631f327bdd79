//! Whether what sounds like speech is a voice. The detector that knows computes only while something does.

use std::collections::VecDeque;

use super::frame::FRAME;
use super::silero::{STEP, Silero};

/// Probability from which a step is a voice, below which it is none, and the steps of a voice (96 ms) that confirm it.
/// Chosen by hand; `music_utterances` and `people_missed` (`cargo xtask bench people`) judge them.
const VOICE: f32 = 0.7;
const NO_VOICE: f32 = 0.5;
const CONFIRMED: usize = 3;

/// Probability below which a step of an utterance holds no voice at all, and the steps (480 ms) after which the voice is
/// gone, whatever goes on behind it. Longer than the pause in a word. Chosen by hand.
const GONE: f32 = 0.1;
const ABSENT: usize = 15;

/// Steps of absence that a frame takes back which does not sound like speech: a pause of 128 ms takes back all. Chosen by
/// hand: music has such frames too, but few in a row.
const FORGIVEN: usize = 2;

/// Probability from which a step may belong to the beginning of a voice, the steps of less within it (128 ms: a stop
/// consonant), and the steps that are remembered (1 s).
const FAINT: f32 = 0.1;
const GAP: usize = 4;
const REMEMBERED: usize = 32;

/// Samples from before the first doubt that are heard too, 480 ms: the detector needs to hear speech begin.
const PAST: usize = 30 * FRAME;

/// Frames without a doubt (1 s) after which it computes nothing.
const PATIENCE: usize = 63;

/// Settles doubts about speech.
pub struct Confirmation {
    silero: Silero,
    /// The last samples, while it computes nothing.
    past: Vec<f32>,
    /// Frames for which it computes.
    awake: usize,
    /// Steps of a voice in a row.
    voice: usize,
    /// Steps without any voice in a row.
    absent: usize,
    /// The probabilities of the last steps, the latest first.
    last: VecDeque<f32>,
}

impl Confirmation {
    /// One that has heard nothing; `None` if this machine cannot compute it.
    pub fn new() -> Option<Self> {
        Some(Self {
            silero: Silero::new()?,
            past: Vec::with_capacity(PAST + FRAME),
            awake: 0,
            voice: 0,
            absent: 0,
            last: VecDeque::with_capacity(REMEMBERED + 1),
        })
    }

    /// Hears a frame before an utterance; returns whether a voice has begun. `is_possible`: whether it sounds like speech.
    pub fn begins(&mut self, frame: &[f32; FRAME], is_possible: bool) -> bool {
        if is_possible {
            self.awake = PATIENCE;
        }
        if self.awake == 0 {
            self.overhear(frame);
            return false;
        }
        self.awake -= 1;
        self.hear(frame);
        let is_voice = self.voice >= CONFIRMED;
        if self.awake == 0 {
            self.rest();
        }
        is_voice
    }

    /// Hears a frame of an utterance that sounds like speech or not; returns whether it may be the voice. Only what sounds
    /// like speech for long without being one is none: after a pause the voice is believed at once.
    pub fn goes_on(&mut self, frame: &[f32; FRAME], is_possible: bool) -> bool {
        self.awake = PATIENCE;
        let before = self.absent;
        self.hear(frame);
        if !is_possible {
            // A voice in the same frame takes back all.
            self.absent = self.absent.min(before.saturating_sub(FORGIVEN));
        }
        self.absent < ABSENT
    }

    /// Samples of the voice heard so far, back to its first faint beginning: at most [`REMEMBERED`] steps.
    pub fn voice(&self) -> usize {
        let mut steps = 0;
        for (nth, probability) in (1..).zip(&self.last) {
            if *probability >= FAINT {
                steps = nth;
            } else if nth > steps + GAP {
                break;
            }
        }
        steps * STEP
    }

    /// Hears sound that is no utterance's, and computes nothing: what follows may begin in it.
    pub fn overhear(&mut self, samples: &[f32]) {
        self.past.extend_from_slice(samples);
        self.past.drain(..self.past.len().saturating_sub(PAST));
    }

    /// The utterance is over, or none began.
    pub fn close(&mut self) {
        self.absent = 0;
    }

    /// Stops computing, and forgets all sound that was computed.
    pub fn rest(&mut self) {
        self.silero.reset();
        self.awake = 0;
        (self.voice, self.absent) = (0, 0);
        self.last.clear();
    }

    /// Forgets all sound.
    pub fn reset(&mut self) {
        self.rest();
        self.past.clear();
    }

    fn hear(&mut self, frame: &[f32; FRAME]) {
        let Self {
            silero,
            voice,
            absent,
            last,
            ..
        } = self;
        let mut judge = |probability| {
            *voice = match probability {
                VOICE.. => *voice + 1,
                NO_VOICE.. => *voice,
                _ => 0,
            };
            *absent = if probability < GONE { *absent + 1 } else { 0 };
            last.push_front(probability);
            last.truncate(REMEMBERED);
        };
        silero.hear(&self.past, &mut judge);
        self.past.clear();
        silero.hear(frame, judge);
    }
}

// A step is a whole number of frames, so that a step is judged with its last frame.
const _: () = assert!(STEP.is_multiple_of(FRAME));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::testing::{noise, silence, spoken};

    #[test]
    fn a_voice_begins_and_is_gone_some_time_after_its_last_word() {
        let mut confirmation = Confirmation::new().unwrap();
        let words = [silence(500), spoken("turn on the kitchen light")].concat();
        let frames = words.as_chunks::<FRAME>().0.iter();
        let begun = frames.filter(|it| confirmation.begins(it, true)).count();
        assert!(begun > 30, "{begun} frames");
        let hiss = noise(0.01, 2000);
        let frames = hiss.as_chunks::<FRAME>().0.iter();
        let there = frames.filter(|it| confirmation.goes_on(it, true)).count();
        let steps = there * FRAME / STEP;
        assert!((ABSENT - 1..40).contains(&steps), "{steps} steps");
    }

    #[test]
    fn frames_that_do_not_sound_like_speech_make_a_pause_and_no_end() {
        let mut confirmation = Confirmation::new().unwrap();
        let hiss = noise(0.01, 3000);
        let frames = hiss.as_chunks::<FRAME>().0.iter();
        // Of three frames one does not sound like speech.
        let mut patterned = frames.enumerate();
        assert!(patterned.all(|(nth, it)| confirmation.goes_on(it, nth % 3 != 0)));
        let frames = hiss.as_chunks::<FRAME>().0.iter();
        let there = frames.filter(|it| confirmation.goes_on(it, true)).count();
        assert!(there * FRAME / STEP < 40);
        // A voice brings it back in whatever frame it is heard.
        let words = spoken("turn on the kitchen light");
        let words = words.as_chunks::<FRAME>().0.iter();
        let there = words.filter(|it| confirmation.goes_on(it, false)).count();
        assert!(there > 30, "{there} frames");
    }

    #[test]
    fn nothing_is_computed_while_nothing_sounds_like_speech_and_the_beginning_is_caught_up_with() {
        let mut confirmation = Confirmation::new().unwrap();
        let words = spoken("turn on the kitchen light");
        let frames = words.as_chunks::<FRAME>().0;
        for frame in &frames[..25] {
            assert!(!confirmation.begins(frame, false));
        }
        assert!(confirmation.begins(&frames[25], true));
    }
}
