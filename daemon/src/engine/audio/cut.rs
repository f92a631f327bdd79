//! Cuts long speech into spans that the encoder can take.
//!
//! A span is at most 30 s. From 24 s on it is cut at a pause: the longer the span is, the less silent the
//! pause must be.

use super::{LONGEST_SECONDS, SAMPLE_RATE};

/// Samples that are judged together: 50 ms, shorter than a pause between words and longer than one
/// inside a consonant.
const WINDOW: usize = SAMPLE_RATE as usize / 20;

/// Minimum windows of a span: 24 s.
const EARLIEST: usize = 24 * 20;

/// Maximum windows of a span: 30 s.
const LATEST: usize = LONGEST_SECONDS as usize * 20;

/// Finds the places to cut a turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Cutter {
    /// Number of samples in the incomplete window, and their energy.
    begun: (usize, f64),
    /// Number of complete windows of the span, and their energy.
    windows: (usize, f64),
}

impl Cutter {
    /// Takes the next `samples`. If the span ends within them, returns after how many; the rest belongs to the
    /// next span and has to be passed again.
    pub(super) fn cut(&mut self, samples: &[f32]) -> Option<usize> {
        for (at, sample) in samples.iter().enumerate() {
            self.begun.0 += 1;
            self.begun.1 += f64::from(sample * sample);
            if self.begun.0 == WINDOW && self.is_place() {
                *self = Self::default();
                return Some(at + 1);
            }
        }
        None
    }

    /// Whether the window just completed ends the span.
    fn is_place(&mut self) -> bool {
        let (_, energy) = std::mem::take(&mut self.begun);
        self.windows.0 += 1;
        self.windows.1 += energy;
        let (windows, total) = self.windows;
        if windows < EARLIEST {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 600")]
        let (mean, late) = (
            total / windows as f64,
            (windows - EARLIEST) as f64 / (LATEST - EARLIEST) as f64,
        );
        // The limit rises from 30 dB below the span's mean to the mean itself.
        windows == LATEST || energy <= mean * 10f64.powf(3.0 * (late - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f32, level: f32) -> Vec<f32> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let samples = (seconds * 16_000.0) as usize;
        (0..samples)
            .map(|nth| if nth % 40 < 20 { level } else { -level })
            .collect()
    }

    fn cuts(sound: &[f32], push: usize) -> Vec<usize> {
        let mut cutter = Cutter::default();
        let (mut cuts, mut at) = (Vec::new(), 0);
        while at < sound.len() {
            let end = sound.len().min(at + push);
            match cutter.cut(&sound[at..end]) {
                Some(taken) => {
                    at += taken;
                    cuts.push(at);
                }
                None => at = end,
            }
        }
        cuts
    }

    #[test]
    fn a_pause_late_in_the_span_is_the_place_to_cut() {
        let sound = [
            seconds(5.0, 0.3),
            seconds(1.0, 0.0),
            seconds(20.0, 0.3),
            seconds(0.2, 0.0),
            seconds(10.0, 0.3),
        ]
        .concat();
        for push in [1, 160, 16_000, sound.len()] {
            let cuts = cuts(&sound, push);
            let [cut] = cuts.as_slice() else {
                panic!("{cuts:?}")
            };
            assert!((26 * 16_000..26 * 16_000 + 3200).contains(cut), "{cut}");
        }
    }

    #[test]
    fn without_a_pause_it_is_cut_at_the_limit_and_before_that_at_the_softest_place() {
        assert_eq!(cuts(&seconds(65.0, 0.3), 512), [480_000, 960_000]);
        let softer = [seconds(29.0, 0.3), seconds(0.1, 0.1), seconds(5.0, 0.3)].concat();
        let cut = cuts(&softer, 512)[0];
        assert!((464_000..465_700).contains(&cut), "{cut}");
    }

    #[test]
    fn short_speech_and_silence_before_the_last_seconds_are_left_whole() {
        assert!(cuts(&seconds(23.9, 0.0), 512).is_empty());
    }
}
