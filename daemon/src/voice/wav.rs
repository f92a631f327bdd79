//! WAV headers that do not tell the truth.
//!
//! Whoever writes a WAV file into a pipe cannot know its length, and writes a huge one. The decoder
//! trusts the header and gives up at the first packet that is not complete, which loses up to 72 ms
//! at the end of the speech. So the lengths are made honest before the decoder sees them.

/// What the header says about the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
}

/// Corrects the lengths in a WAV file so that they do not exceed the bytes there are.
///
/// Returns what the header claims, or `None` if these bytes are no WAV file with a header.
pub fn make_honest(bytes: &mut [u8]) -> Option<Shape> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let end = u32::try_from(bytes.len()).ok()?;
    put(bytes, 4, end - 8);
    let mut shape = None;
    let mut start = 12;
    while let Some(header) = bytes.get(start..start + 8) {
        let is_data = &header[..4] == b"data";
        let is_format = &header[..4] == b"fmt ";
        let claimed = u32_at(bytes, start + 4)?;
        let body = start + 8;
        if is_format {
            shape = Some(Shape {
                channels: u16::from_le_bytes(bytes.get(body + 2..body + 4)?.try_into().ok()?),
                rate: u32_at(bytes, body + 4)?,
            });
        }
        if is_data {
            let present = u32::try_from(bytes.len() - body).ok()?;
            put(bytes, start + 4, claimed.min(present));
            break;
        }
        // Chunks begin at even positions.
        start = body.checked_add(usize::try_from(claimed).ok()?)?.checked_next_multiple_of(2)?;
    }
    shape
}

fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(position..position + 4)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], position: usize, value: u32) {
    bytes[position..position + 4].copy_from_slice(&value.to_le_bytes());
}
