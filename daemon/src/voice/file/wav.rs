//! WAV headers that do not tell the truth.
//!
//! Whoever writes a WAV file into a pipe cannot know its length, and writes a huge one. The decoder
//! trusts the header and gives up at the first packet that is not complete, which loses up to 72 ms
//! at the end of the speech. So the lengths are made honest before the decoder sees them. Absurd
//! formats are refused here too, where they can still be named: to the decoder all are the same.

use super::{FileError, check};

/// Corrects the lengths in a WAV file so that they do not exceed the bytes there are. Leaves
/// anything else alone.
///
/// # Errors
/// When the header claims a rate or a number of channels that is not believed.
pub fn make_honest(bytes: &mut [u8]) -> Result<(), FileError> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Ok(());
    }
    put_length(bytes, 4, bytes.len() - 8);
    let mut start = 12;
    while let Some(header) = bytes.get(start..start + 8) {
        let body = start + 8;
        let claimed = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if &header[..4] == b"data" {
            put_length(bytes, start + 4, claimed.min(bytes.len() - body));
            break;
        }
        if &header[..4] == b"fmt "
            && let Some(&[_, _, c0, c1, r0, r1, r2, r3]) = bytes.get(body..body + 8)
        {
            let channels = u16::from_le_bytes([c0, c1]);
            check(u32::from_le_bytes([r0, r1, r2, r3]), channels.into())?;
        }
        // Chunks begin at even positions.
        start = body.saturating_add(claimed).saturating_add(claimed % 2);
        if start >= bytes.len() {
            break;
        }
    }
    Ok(())
}

fn put_length(bytes: &mut [u8], position: usize, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    bytes[position..position + 4].copy_from_slice(&length.to_le_bytes());
}
