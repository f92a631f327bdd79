//! Sounds for tests: tones, noise and speech.

use std::f64::consts::TAU;

use gemmad_testbed::speech;

use super::resample::RATE;

/// A sine at half of full scale, the same on every channel, interleaved.
#[allow(clippy::cast_possible_truncation)]
pub fn sine(hertz: f64, rate: u32, channels: u16, milliseconds: u32) -> Vec<f32> {
    (0..rate * milliseconds / 1000)
        .map(|frame| (TAU * hertz * f64::from(frame) / f64::from(rate)).sin() * 0.5)
        .flat_map(|sample| std::iter::repeat_n(sample as f32, channels.into()))
        .collect()
}

/// The error of a device that has lost sound.
pub fn lost_sound() -> cpal::Error {
    cpal::Error::new(cpal::ErrorKind::Xrun)
}

/// Silence, 16 kHz mono.
pub fn silence(milliseconds: usize) -> Vec<f32> {
    vec![0.0; milliseconds * RATE as usize / 1000]
}

/// White noise of the given peak, 16 kHz mono, always the same (Marsaglia's xorshift).
#[allow(clippy::cast_precision_loss)]
pub fn noise(peak: f32, milliseconds: usize) -> Vec<f32> {
    let mut state = 2_463_534_242_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32
    };
    silence(milliseconds)
        .iter()
        .map(|_| (random() * 2.0 - 1.0) * peak)
        .collect()
}

/// Speech, 16 kHz mono.
pub fn spoken(text: &str) -> Vec<f32> {
    speech::say(text, "en").unwrap()
}
