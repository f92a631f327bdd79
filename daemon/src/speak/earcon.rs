//! Short sounds that tell something without words.

use std::f32::consts::TAU;

use super::queue::Sound;

/// Samples a second, and samples in each of the two tones (90 ms).
const RATE: u32 = 16_000;
const TONE: u16 = 1440;

/// Peak of a tone; full scale is 1. Quieter than a voice.
const LEVEL: f32 = 0.2;

/// The meaning of a short sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earcon {
    /// The wake word was heard: speak now. Two tones that rise.
    Wake,
    /// There is no answer. Two tones that fall.
    Error,
    /// A timer rings. Three tones, twice.
    Timer,
}

impl Earcon {
    /// Its sound.
    pub(super) fn sound(self) -> Sound {
        // A fifth, e'' and b''.
        let (low, high) = (659.3, 987.8);
        let tones = match self {
            Self::Wake => vec![low, high],
            Self::Error => vec![high, low],
            Self::Timer => vec![high, high, low, high, high, low],
        };
        Sound {
            rate: RATE,
            channels: 1,
            samples: tones.into_iter().flat_map(tone).collect(),
        }
    }
}

/// A tone that begins and ends softly, so that nothing clicks.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn tone(hertz: f32) -> impl Iterator<Item = f32> {
    (0..TONE).map(move |nth| {
        let place = f32::from(nth) / f32::from(TONE);
        let time = f32::from(nth) / RATE as f32;
        LEVEL * (0.5 - 0.5 * (TAU * place).cos()) * (TAU * hertz * time).sin()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_soft_short_and_differ() {
        let (wake, error) = (Earcon::Wake.sound(), Earcon::Error.sound());
        assert_ne!(wake.samples, error.samples);
        for sound in [wake, error] {
            assert_eq!(sound.samples.len(), 2880);
            assert!(sound.samples.iter().all(|it| it.abs() <= LEVEL));
            assert!(sound.samples[0].abs() < 1e-3 && sound.samples[2879].abs() < 1e-3);
        }
    }
}
