//! What stands before the sound of MP3 and FLAC files: texts and pictures about it, of any number and size.
//!
//! They are not needed, and a reader that keeps them takes many times their size in memory. So they are skipped before
//! the reader sees the file.

use super::bytes::Section;
use super::error::FileError;

/// Most tags, or blocks of them. Ordinary files have one tag, or up to a dozen blocks.
const MOST: usize = 1000;

/// Type of the FLAC block that describes the sound, and the block's length.
const STREAM_INFO: u8 = 0;
const STREAM_INFO_BYTES: usize = 34;

/// Marks the last block before the sound.
const LAST: u8 = 0x80;

/// The file without the ID3 tags it begins with.
///
/// # Errors
/// When there are too many, or they cannot be read.
pub(super) fn without_id3<'a>(file: &Section<'a>) -> Result<Section<'a>, FileError> {
    let mut start = 0;
    for _ in 0..MOST {
        let Some(header) = file.array::<10>(start)? else {
            return Ok(file.from(start));
        };
        let [b'I', b'D', b'3', _, _, flags, length @ ..] = header else {
            return Ok(file.from(start));
        };
        // Seven bits of each byte count, and a footer repeats the header.
        let length = length
            .iter()
            .fold(0, |length, byte| length << 7 | u64::from(byte & 0x7f));
        let footer = u64::from(flags >> 4 & 1) * 10;
        start += 10 + length + footer;
    }
    Err(FileError::Damaged("it begins with more than 1,000 tags"))
}

/// The shortest header of a FLAC file, and the sound that follows it.
///
/// # Errors
/// When the file does not describe its sound, or holds nothing but tags.
pub(super) fn without_blocks<'a>(file: &Section<'a>) -> Result<(Vec<u8>, Section<'a>), FileError> {
    let cut = || FileError::Damaged("it ends before its sound begins");
    let mut stream_info = None;
    let mut start = 4;
    for _ in 0..MOST {
        let [kind, length @ ..] = file.array::<4>(start)?.ok_or_else(cut)?;
        let body = start + 4;
        if kind & !LAST == STREAM_INFO {
            stream_info = file.array::<STREAM_INFO_BYTES>(body)?;
        }
        start = body + u64::from(u32::from_be_bytes([0, length[0], length[1], length[2]]));
        if start >= file.len() {
            return Err(cut());
        }
        if kind & LAST != 0 {
            let nothing = FileError::Damaged("its header does not say what its sound is");
            let stream_info = stream_info.ok_or(nothing)?;
            let header = [LAST | STREAM_INFO, 0, 0, 34];
            return Ok((
                [b"fLaC".as_slice(), &header, &stream_info].concat(),
                file.from(start),
            ));
        }
    }
    Err(FileError::Damaged(
        "it has more than 1,000 parts before its sound",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(length: u8, flags: u8) -> Vec<u8> {
        let mut tag = vec![b'I', b'D', b'3', 4, 0, flags, 0, 0, 1, length & 0x7f];
        let footer = usize::from(flags >> 4 & 1) * 10;
        tag.resize(10 + 128 + usize::from(length & 0x7f) + footer, b'x');
        tag
    }

    #[test]
    fn tags_are_stepped_over_whatever_their_number_and_length() {
        let file = [tag(0, 0), tag(100, 0x10), b"sound".to_vec()].concat();
        let bytes = file.as_slice();
        let rest = without_id3(&Section::all(&bytes).unwrap()).unwrap();
        assert_eq!(rest.array::<5>(0).unwrap(), Some(*b"sound"));
        // One that claims to be longer than the file.
        let bytes = &tag(5, 0)[..40];
        let rest = without_id3(&Section::all(&bytes).unwrap()).unwrap();
        assert_eq!(rest.len(), 0);
    }

    #[test]
    fn a_file_of_nothing_but_tags_is_refused_at_once() {
        let empty = [b'I', b'D', b'3', 4, 0, 0, 0, 0, 0, 0].repeat(1001);
        let bytes = empty.as_slice();
        let refusal = without_id3(&Section::all(&bytes).unwrap()).err().unwrap();
        assert!(refusal.to_string().contains("1,000 tags"), "{refusal}");
    }

    #[test]
    fn flac_keeps_what_says_what_its_sound_is_alone() {
        let picture = [&[6, 0, 1, 0][..], &[0xff; 256]].concat();
        let info = [&[0, 0, 0, 34][..], &[7; 34]].concat();
        let file = [
            b"fLaC".to_vec(),
            info,
            picture,
            vec![0x81, 0, 0, 0],
            vec![1, 2, 3],
        ]
        .concat();
        let bytes = file.as_slice();
        let (head, sound) = without_blocks(&Section::all(&bytes).unwrap()).unwrap();
        assert_eq!(head, [&b"fLaC\x80\0\0\x22"[..], &[7; 34]].concat());
        assert_eq!(sound.array::<3>(0).unwrap(), Some([1, 2, 3]));
        assert_eq!(sound.len(), 3);
    }
}
