//! Is it still the person who began the utterance, or a television behind them?
//!
//! Voice activity cannot tell: both are speech. Loudness can: a person who talks to the device is louder than the
//! background, and stays about as loud. Without this, no utterance ends while a television is on.

use std::collections::VecDeque;

use super::vad::FRAME;

/// Frames whose mean power is the level of a syllable (192 ms), so that a gap inside a word does not count. Syllables
/// of American English last 50 to 400 ms (S. Greenberg et al., “Temporal properties of spontaneous speech: a
/// syllable-centric perspective”, J. Phonetics 31, 2003).
const SYLLABLE: usize = 12;

/// Number of the loudest frames of an utterance (400 ms), whose quietest gives the person's level: more than the slam
/// of a door. Chosen by hand.
const LOUD: usize = 25;

/// Frames whose median level is the background's (20 s without the person). Chosen by hand.
const PAST: usize = 1250;

/// Frames in a row (1.5 s) that are too quiet for the person and therefore somebody else's, although they were taken for the
/// person's when they were the loudest so far. A person is loud again sooner: in every word. Chosen by hand.
const OTHERS: usize = 94;

/// How far below their level the person may still be, in dB: the end of a sentence is quieter than its beginning. A
/// television 10 dB below them comes that close now and then: it keeps 2 of 100 utterances open (`bench endpoint`),
/// with 8 dB here 13. Levels of nano's held-out voices, looked at once: with 8 dB a television would be taken for the
/// person who goes on in most windows of 5 s, with 5 dB in one of seven; and nearly all who speak again come that close
/// in their first 0.4 s.
const QUIETER: f32 = 5.0;

/// Level of silence, in dBFS: just above the least that [`decibels`] gives.
const NOTHING: f32 = -99.0;

/// Frames after which the background is measured again: four times a second, to save the sorting. Chosen by hand.
const MEASURED_EVERY: usize = 16;

/// Mean square of a frame.
#[expect(clippy::cast_precision_loss, reason = "the constant is small")]
pub fn power(frame: &[f32; FRAME]) -> f32 {
    frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32
}

/// A mean square in dBFS, at least -100.
pub fn decibels(power: f32) -> f32 {
    10.0 * power.max(1e-10).log10()
}

/// Follows the levels of the background and of the person.
#[derive(Debug)]
pub struct Foreground {
    /// Mean squares of the last frames, the latest in the back.
    powers: VecDeque<f32>,
    /// Level of the latest frame, in dB.
    level: f32,
    /// Levels in dB of the last frames that were not the person's, the latest in the back.
    levels: VecDeque<f32>,
    /// The person's levels in the utterance, at most [`PAST`], the latest in the back.
    spoken: VecDeque<f32>,
    /// The loudest levels of the utterance, the lowest of them first.
    loudest: Vec<f32>,
    /// Level in dB from which speech is the person's, and the frames for which that stands.
    threshold: f32,
    stands_for: usize,
    /// Scratch space for the median.
    sorted: Vec<f32>,
}

impl Foreground {
    /// A room in which nothing was heard yet.
    pub fn new() -> Self {
        Self {
            powers: VecDeque::from([0.0; SYLLABLE]),
            level: NOTHING,
            levels: VecDeque::from([NOTHING; PAST]),
            spoken: VecDeque::with_capacity(PAST),
            loudest: Vec::with_capacity(LOUD + 1),
            threshold: NOTHING,
            stands_for: 0,
            sorted: Vec::with_capacity(PAST),
        }
    }

    /// Hears a frame, speech or not.
    #[expect(clippy::cast_precision_loss, reason = "the constant is small")]
    pub fn hear(&mut self, frame: &[f32; FRAME]) {
        self.powers.pop_front();
        self.powers.push_back(power(frame));
        let mean = self.powers.iter().sum::<f32>() / SYLLABLE as f32;
        self.level = decibels(mean).max(NOTHING);
    }

    /// The frame heard last is not the person's, so it belongs to the background. A person's never does: however long they
    /// talk, they are not taken for it, unless [`Self::learn_speaker`] says so.
    pub fn add_to_background(&mut self) {
        self.levels.pop_front();
        self.levels.push_back(self.level);
    }

    /// An utterance begins.
    pub fn begin(&mut self) {
        self.spoken.clear();
        self.loudest.clear();
        self.stands_for = 0;
    }

    /// The speaker of the utterance is background after all.
    pub fn learn_speaker(&mut self) {
        self.levels.drain(..self.spoken.len());
        self.levels.append(&mut self.spoken);
    }

    /// Whether the frame heard last, which is speech, is loud enough to be the person's.
    pub fn is_person(&mut self) -> bool {
        let is_person = self.is_loud_enough();
        if is_person {
            if self.spoken.len() == PAST {
                self.spoken.pop_front();
            }
            self.spoken.push_back(self.level);
        }
        is_person
    }

    fn is_loud_enough(&mut self) -> bool {
        let level = self.level();
        let place = self.loudest.partition_point(|loud| *loud < level);
        self.loudest.insert(place, level);
        if self.loudest.len() > LOUD {
            self.loudest.remove(0);
        } else if self.loudest.len() < LOUD {
            return true;
        }
        if self.stands_for == 0 {
            self.stands_for = MEASURED_EVERY;
            self.threshold = self.measure();
        }
        self.stands_for -= 1;
        level >= self.threshold
    }

    /// The level now, in dBFS.
    pub fn level(&self) -> f32 {
        self.level
    }

    /// Whether this level may be that of the person in the last utterance; `false` if there was none.
    pub fn is_same_at(&self, level: f32) -> bool {
        let before = self.loudest.first();
        before.is_some_and(|before| level >= before - QUIETER)
    }

    /// The threshold: half-way between the background and the person in dB, and at least [`QUIETER`] below the person.
    fn measure(&mut self) -> f32 {
        let person = self.loudest[0];
        self.sorted.clear();
        let quiet = |a: &f32, b: &f32| (*a < person - QUIETER) == (*b < person - QUIETER);
        let spoken = self.spoken.make_contiguous().chunk_by(quiet);
        let others = spoken.filter(|it| it[0] < person - QUIETER && it.len() >= OTHERS);
        self.sorted.extend(others.flatten());
        let known = self.levels.iter().skip(self.sorted.len());
        self.sorted.extend(known);
        let (_, background, _) = self.sorted.select_nth_unstable_by(PAST / 2, f32::total_cmp);
        f32::midpoint(*background, person).min(person - QUIETER)
    }
}
