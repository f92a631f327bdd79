//! Sounds for tests: tones, noise, and speech from espeak-ng, which the tests require.

use std::f64::consts::TAU;
use std::process::Command;

use super::resample::{RATE, Resampler};

/// A sine at half of full scale, the same on every channel, interleaved.
#[allow(clippy::cast_possible_truncation)]
pub fn sine(hertz: f64, rate: u32, channels: u16, milliseconds: u32) -> Vec<f32> {
    (0..rate * milliseconds / 1000)
        .map(|frame| (TAU * hertz * f64::from(frame) / f64::from(rate)).sin() * 0.5)
        .flat_map(|sample| std::iter::repeat_n(sample as f32, channels.into()))
        .collect()
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

/// What espeak-ng writes to a pipe: a 22.05 kHz WAV file whose header does not know its length.
pub fn spoken_wav(text: &str) -> Vec<u8> {
    let output = Command::new("espeak-ng")
        .args(["--stdout", text])
        .output()
        .expect("these tests need espeak-ng: apt install espeak-ng");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Speech, 16 kHz mono.
pub fn spoken(text: &str) -> Vec<f32> {
    let wav = spoken_wav(text);
    let mut speech = Vec::new();
    let mut resampler = Resampler::new(22_050, 1);
    for sample in wav[44..].chunks_exact(2) {
        let sample = f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0;
        resampler.push(&[sample], &mut speech);
    }
    resampler.flush(&mut speech);
    speech
}
