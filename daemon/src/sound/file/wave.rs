//! WAV and its 64-bit relatives: a lenient reader of the header.
//!
//! Symphonia and hound are both strict about the header: files of recorders and telephone exchanges that every player
//! plays are refused, or lose their end. So the header is read here, and symphonia only decodes the samples.

use std::num::NonZero;

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32LE,
    CODEC_ID_PCM_F64LE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S24LE,
    CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8,
};

use super::bytes::Section;
use super::chunks::{Chunk, Chunks, Extent, Order};
use super::error::FileError;
use super::raw::Layout;

/// Bytes of the header before the first chunk.
const HEADER: u64 = 12;

/// The kind of sound in a WAV file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Samples, or blocks of them.
    Raw(Layout),
    /// An MP3 file within the WAV file.
    Mpeg,
}

/// A WAV file.
#[derive(Debug)]
pub(super) struct Wave {
    /// The kind of its sound.
    pub content: Content,
    /// Where it is.
    pub extent: Extent,
}

/// Whether a file with this beginning is one.
pub(super) fn is_wave(start: [u8; 12]) -> bool {
    matches!(&start[..4], b"RIFF" | b"RF64" | b"BW64") && &start[8..] == b"WAVE"
}

/// Finds the sound of a WAV file.
///
/// # Errors
/// When it is missing, or of a kind that cannot be decoded here.
pub(super) fn read(file: &Section) -> Result<Wave, FileError> {
    let mut chunks = Chunks::new(file.clone(), Order::Little, HEADER, &[b"fmt ", b"data"]);
    let mut content = None;
    // The length of the sound where it does not fit into 32 bits.
    let mut long = None;
    while let Some(chunk) = chunks.next()? {
        match &chunk.id {
            b"ds64" => long = file.array::<8>(chunk.body + 8)?.map(u64::from_le_bytes),
            b"fmt " => content = Some(format(file, chunk)?),
            b"data" => {
                let content = content.ok_or(FileError::Damaged(
                    "its header does not say what its sound is",
                ))?;
                let length = match long {
                    Some(long) if chunk.length == u64::from(u32::MAX) => long,
                    _ => chunk.length,
                };
                let extent = chunk.sound(0, length, file);
                return Ok(Wave { content, extent });
            }
            _ => {}
        }
    }
    Err(FileError::Damaged("it ends before its sound begins"))
}

/// Reads the chunk `fmt `, of 14 bytes or more.
fn format(file: &Section, chunk: Chunk) -> Result<Content, FileError> {
    let mut bytes = [0; 40];
    let length = usize::try_from(chunk.length).unwrap_or(usize::MAX);
    let length = file.fill(&mut bytes[..length.min(40)], chunk.body)?;
    if length < 14 {
        return Err(FileError::Damaged("its header is cut off"));
    }
    let number = |place: usize| u16::from_le_bytes([bytes[place], bytes[place + 1]]);
    let (channels, align, bits) = (number(2), number(12), number(14));
    let rate = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    // In the extensible format, the tag is the beginning of an identifier.
    let tag = match number(0) {
        0xfffe if length >= 26 => number(24),
        tag => tag,
    };
    let samples = |codec, bytes| Ok(Content::Raw(Layout::samples(codec, rate, channels, bytes)?));
    match tag {
        1 => {
            let width = width(bits, align, channels);
            let codec = match width.get() {
                1 => CODEC_ID_PCM_U8,
                2 => CODEC_ID_PCM_S16LE,
                3 => CODEC_ID_PCM_S24LE,
                4 => CODEC_ID_PCM_S32LE,
                _ => {
                    return Err(FileError::Unsupported(
                        "samples of more than 32 bits".into(),
                    ));
                }
            };
            samples(codec, width)
        }
        3 if bits == 64 => samples(CODEC_ID_PCM_F64LE, EIGHT),
        3 => samples(CODEC_ID_PCM_F32LE, FOUR),
        6 => samples(CODEC_ID_PCM_ALAW, ONE),
        7 => samples(CODEC_ID_PCM_MULAW, ONE),
        2 | 0x11 => {
            let (codec, preamble, first) = match tag {
                2 => (CODEC_ID_ADPCM_MS, 7, 2),
                _ => (CODEC_ID_ADPCM_IMA_WAV, 4, 1),
            };
            let (block, channels64) = (u64::from(align), u64::from(channels));
            // Half a byte for each sample, behind a preamble for each channel that holds the first samples.
            let halves = 2 * block.saturating_sub(preamble * channels64);
            let frames = halves.checked_div(channels64).unwrap_or(0) + first;
            let layout = Layout::blocks(codec, rate, channels, block, frames)?;
            Ok(Content::Raw(layout))
        }
        0x50 | 0x55 => Ok(Content::Mpeg),
        tag => Err(FileError::Unsupported(name(tag))),
    }
}

const ONE: NonZero<u16> = NonZero::<u16>::MIN;
const FOUR: NonZero<u16> = NonZero::new(4).unwrap();
const EIGHT: NonZero<u16> = NonZero::new(8).unwrap();

/// Bytes that a sample takes. A sample of 12 or 20 bits is at their upper end, so it is as loud as one that fills them,
/// and only the number of bytes matters.
fn width(bits: u16, align: u16, channels: u16) -> NonZero<u16> {
    let least = bits.div_ceil(8);
    let stated = align.checked_div(channels).unwrap_or(0);
    let is_whole = bits.is_multiple_of(8) && bits > 0;
    let width = if is_whole { least } else { stated.max(least) };
    NonZero::new(width).unwrap_or(ONE)
}

/// Microsoft's name for a format that is not decoded.
fn name(tag: u16) -> String {
    let name = match tag {
        0x14 | 0x40 | 0x45 | 0x64 | 0x65 => "G.721, G.723 or G.726",
        0x22 => "TrueSpeech",
        0x31 => "GSM 6.10",
        0x42 => "G.723.1",
        0x83 => "G.729",
        0x92 | 0x2000 => "AC-3",
        0xff | 0x1600..=0x1602 => "AAC",
        0x160..=0x163 => "Windows Media Audio",
        0x2048 | 0x674f..=0x6771 => "Ogg Vorbis in WAV",
        _ => return format!("WAV of kind {tag:#06x}"),
    };
    name.into()
}
