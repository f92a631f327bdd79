//! The echo of a loudspeaker in a microphone in the same room.

use std::time::Duration;

/// The echo of a loudspeaker in a microphone in the same room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Echo {
    /// Delay of the direct sound; at least 30 ms, by which the loudspeaker's thread may be late itself.
    pub delay: Duration,
    /// Gain of the direct sound, as a factor of amplitude.
    pub gain: f32,
    /// Reverberation time: decay of the reflections by 60 dB; zero for none.
    pub reverberation: Duration,
    /// Gain before a soft limiter, the hyperbolic tangent, as in a small loudspeaker that is too loud; 0: it is linear.
    pub overdrive: f32,
}

impl Echo {
    /// Samples in -1 to 1 as the loudspeaker plays them.
    pub(crate) fn played(self, mut samples: Vec<f32>) -> Vec<f32> {
        if self.overdrive > 0.0 {
            for sample in &mut samples {
                *sample = (*sample * self.overdrive).tanh() / self.overdrive.tanh();
            }
        }
        samples
    }

    /// Direct sound and reflections, as delays and gains relative to the direct sound. The reflections have a third of
    /// the energy, as for a microphone in the loudspeaker's own case, and the same pattern in every run.
    #[expect(clippy::cast_precision_loss, reason = "a few dozen, and milliseconds")]
    pub(crate) fn paths(self) -> Vec<(Duration, f32)> {
        let count = if self.reverberation.is_zero() { 0 } else { 64 };
        let mut random = 1_u32;
        let mut paths = Vec::new();
        for nth in 0..count {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let share = (nth as f32 + (random >> 8) as f32 / 16_777_216.0) / count as f32;
            let sign = if random & 128 == 0 { -1.0 } else { 1.0 };
            let later = self.reverberation.mul_f32(share);
            paths.push((later, sign * 10_f32.powf(-3.0 * share)));
        }
        let energy: f32 = paths.iter().map(|(_, gain)| gain * gain).sum();
        for (_, gain) in &mut paths {
            *gain *= (0.5 / energy.max(f32::MIN_POSITIVE)).sqrt();
        }
        paths.push((Duration::ZERO, 1.0));
        paths
    }
}
