//! Opus, the codec of voice notes. Symphonia reads its containers but does not decode it.

use ropus::{Channels, DecodeMode, Decoder};
use symphonia::core::codecs::audio::AudioCodecParameters;

use super::error::FileError;

/// Opus has no other rate; files state another one only for information.
pub(super) const RATE: u32 = 48_000;

/// Longest packet, in frames: 120 ms.
const LONGEST: usize = 5760;

/// Bytes of the shortest header, and what it begins with.
const HEADER: usize = 19;
const MAGIC: &[u8] = b"OpusHead";

/// Decodes the packets of one stream.
pub(super) struct Opus {
    decoder: Decoder,
    channels: usize,
    /// Frames still to be left out: the encoder's lead-in before the sound.
    skipped: usize,
    frames: Vec<f32>,
}

impl Opus {
    /// Reads the header: RFC 7845, section 5.1, or the box `dOps` of MP4 behind the same first eight bytes. CAF has
    /// none.
    ///
    /// # Errors
    /// When it makes no sense, or there are more than two channels.
    pub(super) fn new(parameters: &AudioCodecParameters) -> Result<Self, FileError> {
        let header = parameters.extra_data.as_deref().unwrap_or_default();
        let (channels, skipped, gain) = match header.first_chunk::<HEADER>() {
            Some(
                [
                    head @ ..,
                    version,
                    channels,
                    pre1,
                    pre2,
                    _,
                    _,
                    _,
                    _,
                    gain1,
                    gain2,
                    _,
                ],
            ) if head == MAGIC => {
                // MP4 has version 0 and big-endian numbers.
                let number = |bytes| match version {
                    0 => u16::from_be_bytes(bytes),
                    _ => u16::from_le_bytes(bytes),
                };
                let gain = number([*gain1, *gain2]).cast_signed();
                ((*channels).into(), number([*pre1, *pre2]), gain)
            }
            _ => (
                parameters
                    .channels
                    .as_ref()
                    .map_or(1, symphonia::core::audio::Channels::count),
                0,
                0,
            ),
        };
        let channels = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            _ => {
                return Err(FileError::Unsupported(
                    "Opus of more than two channels".into(),
                ));
            }
        };
        let nonsense = |_| FileError::Damaged("its header contradicts itself");
        let mut decoder = Decoder::new(RATE, channels).map_err(nonsense)?;
        decoder
            .set_gain(gain.into())
            .map_err(|_| FileError::Damaged("its header contradicts itself"))?;
        Ok(Self {
            decoder,
            channels: channels.count(),
            skipped: skipped.into(),
            frames: vec![0.0; LONGEST * channels.count()],
        })
    }

    /// The channels of a frame.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// The frames of a packet, interleaved, without the last `trimmed`; `None` if it is damaged.
    pub(super) fn decode(&mut self, packet: &[u8], trimmed: usize) -> Option<&[f32]> {
        if packet.is_empty() {
            return Some(&[]);
        }
        let normal = DecodeMode::Normal;
        let decoded = self.decoder.decode_float(packet, &mut self.frames, normal);
        let decoded = decoded.ok()?;
        let skipped = self.skipped.min(decoded);
        self.skipped -= skipped;
        let end = decoded.saturating_sub(trimmed).max(skipped);
        self.frames
            .get(skipped * self.channels..end * self.channels)
    }
}
