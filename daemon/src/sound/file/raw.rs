//! Sound that needs no format reader: samples, or blocks of ADPCM, in a row.

use std::num::NonZero;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::bytes::Section;
use super::error::{FileError, check};

/// Approximate number of bytes in a packet.
const PACKET: u64 = 1 << 15;

/// The format of the samples of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    codec: AudioCodecId,
    rate: u32,
    channels: u16,
    /// Bytes of a block; uncompressed, of a frame.
    block: NonZero<u64>,
    /// Frames in a block.
    frames: NonZero<u64>,
}

impl Layout {
    /// Uncompressed frames, with `bytes` bytes for each sample.
    ///
    /// # Errors
    /// When rate or channels are not believed.
    pub(super) fn samples(
        codec: AudioCodecId,
        rate: u32,
        channels: u16,
        bytes: NonZero<u16>,
    ) -> Result<Self, FileError> {
        let frame = u64::from(bytes.get()) * u64::from(channels);
        Self::blocks(codec, rate, channels, frame, 1)
    }

    /// Blocks of `block` bytes, which hold `frames` frames each.
    ///
    /// # Errors
    /// When rate or channels are not believed, or a block holds nothing.
    pub(super) fn blocks(
        codec: AudioCodecId,
        rate: u32,
        channels: u16,
        block: u64,
        frames: u64,
    ) -> Result<Self, FileError> {
        check(rate, channels.into())?;
        let nonsense = FileError::Damaged("its header contradicts itself");
        let (Some(block), Some(frames)) = (NonZero::new(block), NonZero::new(frames)) else {
            return Err(nonsense);
        };
        // The decoder makes room for the frames that a block claims. The length of a block has 16 bits, which bounds
        // them.
        if frames.get() > 8 * block.get() {
            return Err(nonsense);
        }
        Ok(Self {
            codec,
            rate,
            channels,
            block,
            frames,
        })
    }

    /// The parameters of its decoder.
    pub(super) fn parameters(&self) -> AudioCodecParameters {
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(self.codec)
            .with_sample_rate(self.rate)
            .with_channels(Channels::Discrete(self.channels))
            .with_frames_per_block(self.frames.get())
            .with_max_frames_per_packet(self.frames.get().saturating_mul(self.blocks_in_packet()));
        parameters
    }

    fn blocks_in_packet(&self) -> u64 {
        (PACKET / self.block).max(1)
    }
}

/// The packets of such sound.
pub(super) struct Packets<'a> {
    layout: Layout,
    sound: Section<'a>,
    position: u64,
}

impl<'a> Packets<'a> {
    /// The packets of the whole section.
    pub(super) fn new(layout: Layout, sound: Section<'a>) -> Self {
        Self {
            layout,
            sound,
            position: 0,
        }
    }

    /// Their total length, in milliseconds.
    pub(super) fn milliseconds(&self) -> u64 {
        let blocks = self.sound.len() / self.layout.block;
        let frames = u128::from(blocks) * u128::from(self.layout.frames.get());
        u64::try_from(frames * 1000 / u128::from(self.layout.rate)).unwrap_or(u64::MAX)
    }

    /// The next one, or `None` at the end. A block that is not complete is left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, FileError> {
        let block = self.layout.block.get();
        let mut bytes =
            vec![0; usize::try_from(block * self.layout.blocks_in_packet()).unwrap_or(0)];
        let filled = self.sound.fill(&mut bytes, self.position)?;
        let blocks = filled as u64 / block;
        if blocks == 0 {
            return Ok(None);
        }
        bytes.truncate(usize::try_from(blocks * block).unwrap_or(filled));
        self.position += blocks * block;
        let duration = Duration::new(blocks * self.layout.frames.get());
        Ok(Some(Packet::new(0, Timestamp::ZERO, duration, bytes)))
    }
}
