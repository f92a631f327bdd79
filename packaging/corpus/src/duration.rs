//! The length of a recording, by its header.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use symphonia::core::{
    formats::{FormatOptions, TrackType, probe::Hint},
    io::{MediaSourceStream, MediaSourceStreamOptions},
    meta::MetadataOptions,
};

/// Bytes of a sample in a file without a header.
const SAMPLE: u64 = 2;

/// Most bytes of a page of Ogg: its header, a table of 255 lengths, and as many times 255 bytes.
const OGG_PAGE: u64 = 27 + 255 + 255 * 255;

/// The length of a recording, in seconds. A file without a header has 16-bit samples at `rate`, mono.
pub fn seconds(path: &Path, rate: Option<u32>) -> Result<f64> {
    let seconds = match rate {
        Some(rate) => quotient(path.metadata()?.len() / SAMPLE, rate),
        None => by_header(path)?,
    };
    ensure!(seconds > 0.0, "it is empty");
    Ok(seconds)
}

fn by_header(path: &Path) -> Result<f64> {
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
        hint.with_extension(extension);
    }
    let file = MediaSourceStream::new(
        Box::new(File::open(path)?),
        MediaSourceStreamOptions::default(),
    );
    let reader = symphonia::default::get_probe().probe(
        &hint,
        file,
        FormatOptions::default(),
        MetadataOptions::default(),
    )?;
    let track = reader
        .default_track(TrackType::Audio)
        .context("there is no sound in it")?;
    let frames = match track.num_frames {
        Some(frames) => frames,
        None => last_page(path)?.context("its length is unknown")?,
    };
    let rate = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio()?.sample_rate)
        .context("its sample rate is unknown")?;
    Ok(quotient(frames, rate))
}

/// The number of frames up to the last page of an Ogg file. symphonia does not look for it in a file of few pages.
fn last_page(path: &Path) -> Result<Option<u64>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OGG_PAGE)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let pages = end.windows(14).rev();
    let page = pages.into_iter().find(|page| page.starts_with(b"OggS"));
    Ok(page.and_then(|page| page[6..].try_into().ok().map(u64::from_le_bytes)))
}

#[expect(clippy::cast_precision_loss, reason = "no recording is that long")]
fn quotient(frames: u64, rate: u32) -> f64 {
    frames as f64 / f64::from(rate)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A WAV file of `samples` at 8 kHz, mono.
    fn wave(samples: u32) -> Vec<u8> {
        let bytes = samples * 2;
        let mut wave = Vec::new();
        wave.extend(b"RIFF");
        wave.extend((36 + bytes).to_le_bytes());
        wave.extend(b"WAVEfmt ");
        wave.extend(16_u32.to_le_bytes());
        wave.extend([1, 0, 1, 0]);
        wave.extend(8000_u32.to_le_bytes());
        wave.extend(16_000_u32.to_le_bytes());
        wave.extend([2, 0, 16, 0]);
        wave.extend(b"data");
        wave.extend(bytes.to_le_bytes());
        wave.resize(wave.len() + bytes as usize, 0);
        wave
    }

    #[test]
    fn a_header_tells_the_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        fs::write(&path, wave(12_000)).unwrap();
        let seconds = seconds(&path, None).unwrap();
        assert!((seconds - 1.5).abs() < 1e-6, "{seconds}");
    }

    #[test]
    fn without_a_header_the_stated_rate_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.raw");
        fs::write(&path, vec![0; 16_000]).unwrap();
        let seconds = seconds(&path, Some(16_000)).unwrap();
        assert!((seconds - 0.5).abs() < 1e-6, "{seconds}");
    }

    #[test]
    fn the_last_page_of_an_ogg_file_tells_its_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ogg");
        let page =
            |position: u64| [b"OggS\0\0", position.to_le_bytes().as_slice(), &[7; 100]].concat();
        fs::write(&path, [page(0), page(93_120)].concat()).unwrap();
        assert_eq!(last_page(&path).unwrap(), Some(93_120));
        fs::write(&path, "no pages, but long enough").unwrap();
        assert_eq!(last_page(&path).unwrap(), None);
    }

    #[test]
    fn an_empty_or_foreign_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        fs::write(&path, wave(0)).unwrap();
        assert!(seconds(&path, None).is_err());
        fs::write(&path, "version https://example.org").unwrap();
        assert!(seconds(&path, None).is_err());
    }
}
