//! Is it still the person who began the utterance, or a television behind them?
//!
//! Voice activity cannot tell: both are speech. Loudness can: whoever talks to the device is louder than what
//! was to be heard before, and stays about as loud as they were. Without it, no utterance ends while a
//! television is on.

use std::collections::VecDeque;

use super::vad::FRAME;

/// Frames whose mean power is the level of a syllable (192 ms), so that a gap inside a word does not count.
const SYLLABLE: usize = 12;

/// Frames of speech that have to be as loud as what counts as the person's loudness (400 ms): more than the
/// slam of a door.
const LOUD: usize = 25;

/// Frames whose median level is the background's (20 s); so a person may talk for 10 s on end and is not
/// taken for it.
const PAST: usize = 1250;

/// Below the person's loudness by so much is not necessarily somebody else, in dB: the end of a sentence is
/// quieter than its beginning. A television 10 dB below them comes that close now and then: it keeps 2 of 100
/// utterances open (`bench endpoint`), 13 with 8 dB. Levels of nano's held-out voices, looked at once: beside 8 dB a
/// television would be taken for the person who goes on in most windows of 5 s, beside 5 in one of seven; and nearly
/// all who speak again come that close in their first 0.4 s.
const QUIETER: f32 = 5.0;

/// Level of what cannot be heard, in dB below full scale.
const NOTHING: f32 = -99.0;

/// Frames after which the background is measured again.
const MEASURED_EVERY: usize = 16;

/// Mean square of a frame.
#[expect(clippy::cast_precision_loss, reason = "the constant is small")]
pub(super) fn power(frame: &[f32; FRAME]) -> f32 {
    frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32
}

/// A mean square in dB of full scale, -100 at least.
pub(super) fn decibels(power: f32) -> f32 {
    10.0 * power.max(1e-10).log10()
}

/// Follows how loud everything is.
#[derive(Debug)]
pub(super) struct Foreground {
    /// Mean squares of the last frames, the latest in the back.
    powers: VecDeque<f32>,
    /// Levels in dB, one for each frame, the latest in the back.
    levels: VecDeque<f32>,
    /// The loudest levels of the utterance, the lowest of them first.
    loudest: Vec<f32>,
    /// Level in dB above which speech is the person's, and the frames for which that stands.
    threshold: f32,
    stands_for: usize,
    /// Room for finding a median.
    sorted: Vec<f32>,
}

impl Foreground {
    /// In a room where nothing was heard yet.
    pub(super) fn new() -> Self {
        Self {
            powers: VecDeque::from([0.0; SYLLABLE]),
            levels: VecDeque::from([NOTHING; PAST]),
            loudest: Vec::with_capacity(LOUD + 1),
            threshold: NOTHING,
            stands_for: 0,
            sorted: Vec::with_capacity(PAST),
        }
    }

    /// Hears a frame of whatever it is.
    #[expect(clippy::cast_precision_loss, reason = "the constant is small")]
    pub(super) fn hear(&mut self, frame: &[f32; FRAME]) {
        self.powers.pop_front();
        self.powers.push_back(power(frame));
        let mean = self.powers.iter().sum::<f32>() / SYLLABLE as f32;
        self.levels.pop_front();
        self.levels.push_back(decibels(mean).max(NOTHING));
    }

    /// Somebody begins to speak.
    pub(super) fn begin(&mut self) {
        self.loudest.clear();
        self.stands_for = 0;
    }

    /// Whether the frame heard last, which is speech, is as loud as the person may be.
    pub(super) fn is_person(&mut self) -> bool {
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

    /// How loud it is now, in dB of full scale.
    pub(super) fn level(&self) -> f32 {
        self.levels.back().copied().unwrap_or(NOTHING)
    }

    /// Whether this level is that of whoever spoke in the utterance before; nobody's, if there was none.
    pub(super) fn is_same_at(&self, level: f32) -> bool {
        let before = self.loudest.first();
        before.is_some_and(|before| level >= before - QUIETER)
    }

    /// Half-way between the background and the person in dB, and never close to the person.
    fn measure(&mut self) -> f32 {
        let person = self.loudest[0];
        self.sorted.clear();
        self.sorted.extend(&self.levels);
        let (_, background, _) = self.sorted.select_nth_unstable_by(PAST / 2, f32::total_cmp);
        f32::midpoint(*background, person).min(person - QUIETER)
    }
}
