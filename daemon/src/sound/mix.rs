//! Several channels → the one that is heard.
//!
//! The mean of two channels is what people expect of stereo. It is silence if one of the two is inverted: a cable for
//! balanced signals in a stereo socket, or a microphone that is wired the wrong way round. [`Balance`] finds that out.

/// Least power of the channels' mean, relative to the loudest channel: below it, 10 dB down, that channel is heard
/// alone. Two voices that have nothing in common lose 3 dB, and a voice on one side only loses 6 dB.
const LOSS: f64 = 0.1;

/// Least mean square that says anything about a microphone's wiring: -70 dBFS, the noise of a cheap microphone. Digital
/// silence says nothing.
const AUDIBLE: f64 = 1e-7;

/// How a frame's samples become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mix {
    /// Their mean.
    #[default]
    Mean,
    /// One of them, counted from 0.
    Only(u16),
}

/// The power of each channel of a sound, and of their mean.
#[derive(Debug, Clone)]
pub struct Balance {
    /// Sum and sum of squares of each channel.
    channels: Vec<Moments>,
    /// Those of the mean of all channels.
    mean: Moments,
    /// Frames so far.
    frames: f64,
}

/// Sum and sum of squares.
#[derive(Debug, Clone, Copy, Default)]
struct Moments(f64, f64);

impl Moments {
    fn add(&mut self, sample: f64) {
        self.0 += sample;
        self.1 += sample * sample;
    }

    /// Mean square without the DC offset, which sound cards add and which is inaudible.
    fn power(self, frames: f64) -> f64 {
        let mean = self.0 / frames;
        (self.1 / frames - mean * mean).max(0.0)
    }
}

impl Balance {
    /// A balance before any sound. 0 channels count as 1.
    #[must_use]
    pub fn new(channels: u16) -> Self {
        Self {
            channels: vec![Moments::default(); channels.max(1).into()],
            mean: Moments::default(),
            frames: 0.0,
        }
    }

    /// Takes whole frames of interleaved samples; samples beyond full scale count as full scale. Allocates nothing.
    pub fn hear(&mut self, interleaved: &[f32]) {
        #[expect(clippy::cast_precision_loss, reason = "32 channels")]
        let count = self.channels.len() as f64;
        for frame in interleaved.chunks_exact(self.channels.len()) {
            let mut sum = 0.0;
            for (moments, sample) in self.channels.iter_mut().zip(frame) {
                let sample = f64::from(level(*sample));
                moments.add(sample);
                sum += sample;
            }
            self.mean.add(sum / count);
            self.frames += 1.0;
        }
    }

    /// Forgets what was heard.
    pub fn restart(&mut self) {
        self.channels.fill(Moments::default());
        self.mean = Moments::default();
        self.frames = 0.0;
    }

    /// Frames heard so far.
    #[must_use]
    pub fn frames(&self) -> f64 {
        self.frames
    }

    /// The loudest channel, if the mean keeps less than [`LOSS`] of its power.
    #[must_use]
    pub fn cancelled(&self) -> Option<Mix> {
        let (channel, power) = self.loudest()?;
        (self.mean.power(self.frames) < LOSS * power).then_some(Mix::Only(channel))
    }

    /// The loudest channel and its mean square; `None` if none is [`AUDIBLE`].
    fn loudest(&self) -> Option<(u16, f64)> {
        let powers = self.channels.iter().map(|it| it.power(self.frames));
        // The first of those that are equally loud.
        let louder = |one: (u16, f64), two: (u16, f64)| if two.1 > one.1 { two } else { one };
        let loudest = (0..).zip(powers).reduce(louder);
        // Before the first frame, powers are NaN.
        loudest.filter(|(_, power)| *power >= AUDIBLE)
    }

    /// The best mix for a recording of that balance: up to two channels are mixed unless they cancel each other; of
    /// more, the loudest is heard alone. Recordings of arrays and of films have several, most of which hold something
    /// else.
    #[must_use]
    pub fn best(&self) -> Mix {
        if self.channels.len() <= 2 {
            return self.cancelled().unwrap_or_default();
        }
        self.loudest()
            .map_or(Mix::Mean, |(channel, _)| Mix::Only(channel))
    }
}

/// The sample clipped to full scale; silence if it is not finite.
pub fn level(sample: f32) -> f32 {
    if sample.is_finite() {
        sample.clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;

    use super::super::testing::{noise, sine};
    use super::*;

    fn of(frames: impl IntoIterator<Item = Vec<f32>>) -> Balance {
        let mut frames = frames.into_iter().peekable();
        let channels = frames.peek().unwrap().len();
        let mut balance = Balance::new(u16::try_from(channels).unwrap());
        frames.for_each(|frame| balance.hear(&frame));
        balance
    }

    #[test]
    fn a_channel_that_is_inverted_does_not_silence_the_other() {
        for gain in [1.0, 0.5, 0.9] {
            let tone = sine(440.0, 16_000, 1, 500).into_iter();
            let balance = of(tone.map(|sample| vec![-gain * sample, sample]));
            let louder = u16::from(gain < 1.0);
            assert_eq!(balance.best(), Mix::Only(louder), "{gain}");
        }
    }

    #[test]
    fn ordinary_stereo_is_mixed_and_so_is_a_voice_on_one_side() {
        let (left, right) = (sine(440.0, 16_000, 1, 500), noise(0.5, 500));
        let two_voices = left.iter().zip(&right).map(|(l, r)| vec![*l, *r]);
        assert_eq!(of(two_voices).best(), Mix::Mean);
        let one_side = left.iter().map(|it| vec![*it, 0.0]);
        assert_eq!(of(one_side).best(), Mix::Mean);
        let mono = left.iter().map(|it| vec![*it]);
        assert_eq!(of(mono).best(), Mix::Mean);
    }

    #[test]
    fn silence_and_offsets_of_opposite_sign_say_nothing() {
        assert_eq!(Balance::new(2).best(), Mix::Mean);
        assert_eq!(of(vec![vec![0.0, 0.0]; 100]).best(), Mix::Mean);
        assert_eq!(of(vec![vec![0.4, -0.4]; 100]).best(), Mix::Mean);
        assert_eq!(
            of(vec![vec![f32::NAN, f32::INFINITY]; 100]).best(),
            Mix::Mean
        );
    }

    #[test]
    fn of_many_channels_the_loudest_is_heard() {
        let tone = sine(440.0, 16_000, 1, 500).into_iter();
        let balance = of(tone.map(|it| vec![0.01 * it, 0.0, 0.8 * it, 0.1, 0.0, -0.1 * it]));
        assert_eq!(balance.best(), Mix::Only(2));
        assert_eq!(of(vec![vec![0.0; 6]; 100]).best(), Mix::Mean);
    }

    #[test]
    fn watching_the_balance_allocates_nothing() {
        let mut balance = Balance::new(6);
        let sound = [0.1; 960];
        assert_no_alloc(|| balance.hear(&sound));
        assert!((balance.frames() - 160.0).abs() < f64::EPSILON);
    }
}
