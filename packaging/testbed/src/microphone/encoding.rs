//! Encoding of a microphone's samples.

use crate::{Error, speech};

/// Rate, channels and type of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Frames per second.
    pub rate: u32,
    /// Channels, interleaved; each holds the same sound.
    pub channels: u16,
    pub(super) sample: Sample,
}

/// Type of a sample, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    I16,
    I32,
    F32,
}

impl Sample {
    /// The type with this name in ALSA.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "S16_LE" => Some(Self::I16),
            "S32_LE" => Some(Self::I32),
            "FLOAT_LE" => Some(Self::F32),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "24 bits are enough for a test")]
    fn read(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::I16, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / f32::from(i16::MAX),
            (Self::I32, [a, b, c, d]) => {
                i32::from_le_bytes([*a, *b, *c, *d]) as f32 / i32::MAX as f32
            }
            (Self::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
            _ => 0.0,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range")]
    fn write(self, sample: f32, to: &mut Vec<u8>) {
        match self {
            Self::I16 => to.extend(speech::to_i16(sample).to_le_bytes()),
            Self::I32 => {
                let scaled = f64::from(sample.clamp(-1.0, 1.0)) * f64::from(i32::MAX);
                to.extend((scaled.round() as i32).to_le_bytes());
            }
            Self::F32 => to.extend(sample.to_le_bytes()),
        }
    }
}

impl Default for Encoding {
    /// 16-bit samples at 16 kHz, mono: the same rate as sound that is played, so nothing is resampled.
    fn default() -> Self {
        Self::of_16_bits(speech::RATE, 1)
    }
}

impl Encoding {
    /// 16-bit samples.
    #[must_use]
    pub fn of_16_bits(rate: u32, channels: u16) -> Self {
        Self {
            rate,
            channels,
            sample: Sample::I16,
        }
    }

    /// Bytes of one frame.
    pub(super) fn frame(self) -> usize {
        usize::from(self.channels) * self.sample.bytes()
    }

    /// Adds mono samples at the encoding's rate, times `gain`, to encoded samples.
    pub(super) fn mix(self, bytes: &mut [u8], samples: &[f32], gain: f32) {
        let mut sum = Vec::with_capacity(self.sample.bytes());
        for (frame, echo) in bytes.chunks_exact_mut(self.frame()).zip(samples) {
            for encoded in frame.chunks_exact_mut(self.sample.bytes()) {
                sum.clear();
                self.sample
                    .write(self.sample.read(encoded) + echo * gain, &mut sum);
                encoded.copy_from_slice(&sum);
            }
        }
    }

    /// Encodes mono samples at 16 kHz, from -1 to 1.
    pub(super) fn encode(self, samples: &[f32]) -> Result<Vec<u8>, Error> {
        let samples = speech::resample(samples, speech::RATE, self.rate)?;
        let mut bytes = Vec::with_capacity(samples.len() * self.frame());
        for sample in samples {
            for _ in 0..self.channels {
                self.sample.write(sample, &mut bytes);
            }
        }
        Ok(bytes)
    }
}
