//! The level of the microphone: a peak meter that falls slowly, so that occasional readings miss no peak.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::resample::RATE;

/// Rate of fall, in dB a second: 20 dB in 1.7 s (IEC 60268-10, type I).
const FALL: f32 = 20.0 / 1.7;

/// Level of silence, in dBFS: the range of 16 bits.
const SILENCE: f32 = -96.0;

/// A peak meter. Clones share the level.
#[derive(Debug, Clone)]
pub struct Meter(Arc<AtomicU32>);

impl Default for Meter {
    fn default() -> Self {
        Self(Arc::new(SILENCE.to_bits().into()))
    }
}

impl Meter {
    /// The level in dBFS, from -96 (silence, or no microphone) to 0 and, with clipping converters, a little above.
    #[must_use]
    pub fn level(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }

    /// Takes the next samples, 16 kHz mono. There is one writer.
    pub fn push(&self, samples: &[f32]) {
        let peak = samples
            .iter()
            .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        let seconds = samples.len() as f32 / RATE as f32;
        let fallen = self.level() - FALL * seconds;
        // NaN counts as silence: `max` never chooses it.
        let level = (20.0 * peak.log10()).max(fallen).max(SILENCE);
        self.0.store(level.to_bits(), Relaxed);
    }

    /// Shows silence.
    pub fn clear(&self) {
        self.0.store(SILENCE.to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_shown_at_once_and_falls_by_twenty_decibels_in_1700_ms() {
        let meter = Meter::default();
        assert!((meter.level() - SILENCE).abs() < 1e-3);
        meter.push(&[0.0, -0.5, 0.1]);
        assert!((meter.level() + 6.02).abs() < 0.01, "{}", meter.level());
        meter.push(&vec![0.0; 17 * RATE as usize / 10]);
        assert!((meter.level() + 26.02).abs() < 0.01, "{}", meter.level());
        meter.clear();
        assert!((meter.level() - SILENCE).abs() < 1e-3);
    }

    #[test]
    fn neither_nothing_nor_a_broken_sample_upsets_it() {
        let meter = Meter::default();
        meter.push(&[]);
        meter.push(&[f32::NAN, 0.0]);
        assert!((meter.level() - SILENCE).abs() < 1e-3, "{}", meter.level());
    }
}
