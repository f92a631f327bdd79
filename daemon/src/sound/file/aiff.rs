//! AIFF and AIFF-C: WAV's older relative, with the larger end of each number first.

use std::num::NonZero;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S8,
    CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S32BE,
    CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8,
};

use super::bytes::Section;
use super::chunks::{Chunk, Chunks, Extent, Order};
use super::error::FileError;
use super::raw::Layout;

/// Bytes of the header before the first chunk.
const HEADER: u64 = 12;

/// Bytes of the sound's chunk before the sound.
const BEFORE_SOUND: u64 = 8;

/// Whether a file with this beginning is one.
pub(super) fn is_aiff(start: [u8; 12]) -> bool {
    &start[..4] == b"FORM" && matches!(&start[8..], b"AIFF" | b"AIFC")
}

/// Finds the sound and its layout. The chunk that states the layout may follow the sound.
///
/// # Errors
/// When either is missing, or the sound is of a kind that cannot be decoded here.
pub(super) fn read(file: &Section) -> Result<(Layout, Extent), FileError> {
    let mut chunks = Chunks::new(file.clone(), Order::Big, HEADER, &[b"COMM", b"SSND"]);
    let (mut layout, mut extent) = (None, None);
    while let Some(chunk) = chunks.next()? {
        match &chunk.id {
            b"COMM" => layout = Some(common(file, chunk)?),
            b"SSND" => {
                // The chunk states how many bytes to skip before the sound.
                let skipped = file.array::<4>(chunk.body)?.map_or(0, u32::from_be_bytes);
                let skipped = BEFORE_SOUND + u64::from(skipped);
                extent = Some(chunk.sound(skipped, chunk.length, file));
            }
            _ => {}
        }
        if let (Some(layout), Some(extent)) = (&layout, &extent) {
            return Ok((layout.clone(), extent.clone()));
        }
    }
    Err(FileError::Damaged("it ends before its sound begins"))
}

/// Reads the chunk `COMM`.
fn common(file: &Section, chunk: Chunk) -> Result<Layout, FileError> {
    let short = FileError::Damaged("its header is cut off");
    let bytes = file.array::<18>(chunk.body)?.ok_or(short)?;
    let number = |place: usize| Order::Big.u16([bytes[place], bytes[place + 1]]);
    let (channels, bits) = (number(0), number(6));
    let rate = rate(
        number(8),
        Order::Big.u32([bytes[10], bytes[11], bytes[12], bytes[13]]),
    );
    // Only AIFF-C, whose chunk is longer, states a compression.
    let compression = match chunk.length {
        ..22 => None,
        _ => file.array::<4>(chunk.body + 18)?,
    };
    let (codec, width) = codec(compression, bits)?;
    Layout::samples(codec, rate, channels, width)
}

/// The codec of samples of `bits` bits, and the bytes each takes. As in WAV, samples are at the upper end of their
/// bytes.
fn codec(
    compression: Option<[u8; 4]>,
    bits: u16,
) -> Result<(AudioCodecId, NonZero<u16>), FileError> {
    let width = bits.div_ceil(8).max(1);
    let (codec, width) = match (compression.as_ref(), width) {
        (None | Some(b"NONE" | b"twos"), 1) => (CODEC_ID_PCM_S8, 1),
        (None | Some(b"NONE" | b"twos"), 2) => (CODEC_ID_PCM_S16BE, 2),
        (None | Some(b"NONE" | b"in24" | b"twos"), 3) => (CODEC_ID_PCM_S24BE, 3),
        (None | Some(b"NONE" | b"in32" | b"twos"), 4) => (CODEC_ID_PCM_S32BE, 4),
        (Some(b"sowt"), 2) => (CODEC_ID_PCM_S16LE, 2),
        (Some(b"23ni"), _) => (CODEC_ID_PCM_S32LE, 4),
        (Some(b"raw "), 1) => (CODEC_ID_PCM_U8, 1),
        (Some(b"fl32" | b"FL32"), _) => (CODEC_ID_PCM_F32BE, 4),
        (Some(b"fl64" | b"FL64"), _) => (CODEC_ID_PCM_F64BE, 8),
        (Some(b"alaw" | b"ALAW"), _) => (CODEC_ID_PCM_ALAW, 1),
        (Some(b"ulaw" | b"ULAW"), _) => (CODEC_ID_PCM_MULAW, 1),
        (compression, _) => {
            let kind = compression.unwrap_or(b"NONE").escape_ascii();
            return Err(FileError::Unsupported(format!(
                "AIFF of kind {kind}, {bits} bits"
            )));
        }
    };
    Ok((codec, NonZero::new(width).unwrap_or(NonZero::<u16>::MIN)))
}

/// The sample rate, which AIFF states as a float of 80 bits: from its sign and exponent, and the upper half of its
/// mantissa. 0 if it is out of range.
fn rate(exponent: u16, mantissa: u32) -> u32 {
    // The exponent at which the mantissa's highest bit stands for 1.
    const ONE: u16 = 16383;
    match exponent.checked_sub(ONE) {
        Some(shift @ 0..32) => mantissa >> (31 - shift),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_floats_of_80_bits() {
        assert_eq!(rate(0x400e, 0xac44_0000), 44_100);
        assert_eq!(rate(0x400e, 0xbb80_0000), 48_000);
        assert_eq!(rate(0x400b, 0xfa00_0000), 8_000);
        assert_eq!(rate(0x3fff, 0x8000_0000), 1);
        assert_eq!(rate(0x401e, 0x8000_0000), 1 << 31);
        for nonsense in [(0, 0), (0xc00e, 0xac44_0000), (0x7fff, 0xffff_ffff)] {
            assert_eq!(rate(nonsense.0, nonsense.1), 0);
        }
    }
}
