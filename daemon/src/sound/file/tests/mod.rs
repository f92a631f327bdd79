//! Whole files: built byte by byte here, or made by other programs (`testdata`).

use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;

use super::*;
use crate::sound::resample::RATE;
use crate::sound::testing::{noise, sine};

mod formats;
mod headers;

/// A file in `testdata`.
macro_rules! tone {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/", $name))
    };
}
use tone;

const FLAC: &[u8] = tone!("tone.flac");
const MP3: &[u8] = tone!("tone.mp3");
const VORBIS: &[u8] = tone!("tone.ogg");
const OPUS: &[u8] = tone!("tone.opus");
const M4A: &[u8] = tone!("tone.m4a");
const WEBM: &[u8] = tone!("tone.webm");
const CAF: &[u8] = tone!("tone-opus.caf");
const AIFF: &[u8] = tone!("tone.aiff");

/// Decodes a file of these bytes.
fn decoded(bytes: &[u8]) -> Decoded {
    decode(&bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// The sound of a file that is whole.
fn heard(bytes: &[u8]) -> Vec<f32> {
    let decoded = decoded(bytes);
    assert!(!decoded.is_incomplete);
    decoded.samples
}

fn refusal(bytes: &[u8]) -> String {
    decode(&bytes).unwrap_err().to_string()
}

fn wav(rate: u32, channels: u16, bits: u16, samples: &[f32]) -> Vec<u8> {
    let sample_format = SampleFormat::Int;
    let spec = WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: bits,
        sample_format,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    let scale = f64::from((1_u32 << (bits - 1)) - 1);
    for sample in samples {
        #[allow(clippy::cast_possible_truncation)]
        writer
            .write_sample((f64::from(*sample) * scale).round() as i32)
            .unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// Asserts half a second of a 440 Hz sine at half of full scale.
fn assert_is_the_tone(samples: &[f32], worst: f32) {
    let ideal = sine(440.0, RATE, 1, 500);
    assert!(
        samples.len().abs_diff(ideal.len()) <= 1,
        "{} samples",
        samples.len()
    );
    for (i, (sample, ideal)) in samples.iter().zip(&ideal).enumerate().skip(500).take(7000) {
        assert!(
            (sample - ideal).abs() <= worst,
            "sample {i}: {sample}, not {ideal}"
        );
    }
}

/// Asserts about `milliseconds` of such a sine, wherever it begins: lossy encoders shift it.
fn assert_sounds_like_the_tone(samples: &[f32], milliseconds: usize) {
    let length = samples.len() * 1000 / RATE as usize;
    assert!(
        (milliseconds..milliseconds + 150).contains(&length),
        "{length} ms"
    );
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let power = middle.iter().map(|sample| sample * sample).sum::<f32>();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let power = power / middle.len() as f32;
    assert!((0.10..0.14).contains(&power), "{power}");
    let crossings = middle.windows(2).filter(|it| it[0] < 0.0 && it[1] >= 0.0);
    let hertz = crossings.count() * RATE as usize / middle.len();
    assert!((430..450).contains(&hertz), "{hertz} Hz");
}

#[test]
fn an_empty_file_is_refused() {
    assert!(refusal(b"").contains("empty"));
}

#[test]
fn what_is_no_sound_is_refused_with_what_would_be() {
    let text = "RIFFraff said: this is no sound. ".repeat(100);
    for bytes in [text.as_bytes(), b"x", b"%PDF-1.7", &[0; 5000]] {
        let message = refusal(bytes);
        assert!(message.contains("not a sound file"), "{message}");
        assert!(message.contains("ffmpeg -i FILE"), "{message}");
    }
    let pixels: Vec<u8> = noise(1.0, 5000)
        .iter()
        .flat_map(|it| it.to_le_bytes())
        .collect();
    assert!(refusal(&pixels).contains("not a sound file"));
}

#[test]
fn more_than_30_s_is_refused_with_its_length_and_exactly_30_s_is_not() {
    let second = sine(440.0, 8_000, 1, 1000);
    let message = refusal(&wav(8_000, 1, 16, &second.repeat(40)));
    assert!(
        message.starts_with("the sound is 40.0 s long; Gemma 4 hears at most 30 s"),
        "{message}"
    );
    assert!(message.contains("-segment_time 30"), "{message}");
    assert_eq!(
        heard(&wav(8_000, 1, 16, &second.repeat(30))).len(),
        30 * RATE as usize
    );
}

#[test]
fn less_than_a_tenth_of_a_second_is_refused() {
    let message = refusal(&wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 99)));
    assert!(message.starts_with("the sound is 99 ms long"), "{message}");
}

#[test]
fn a_huge_file_is_refused() {
    let huge = tempfile::tempfile().unwrap();
    huge.set_len(LARGEST + 1).unwrap();
    let refused = decode(&huge).unwrap_err().to_string();
    assert!(refused.contains("larger than 64 MiB"), "{refused}");
}

#[test]
fn a_directory_is_refused() {
    let message = decode(&File::open("/").unwrap()).unwrap_err().to_string();
    assert!(message.contains("cannot be read"), "{message}");
}

#[test]
fn a_file_is_read_from_its_position_on_and_a_client_may_go_on_with_it() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before").unwrap();
    file.write_all(VORBIS).unwrap();
    file.seek(SeekFrom::Start(6)).unwrap();
    assert_eq!(decode(&file).unwrap(), decoded(VORBIS));
    assert_eq!(file.stream_position().unwrap(), 6);
}

#[test]
fn a_channel_that_is_inverted_does_not_silence_a_file() {
    let tone = sine(440.0, 16_000, 1, 500);
    let inverted: Vec<f32> = tone.iter().flat_map(|it| [*it, -it]).collect();
    assert_is_the_tone(&heard(&wav(16_000, 2, 16, &inverted)), 1e-3);
}

#[test]
fn of_six_channels_the_one_with_a_voice_is_heard() {
    let tone = sine(440.0, 16_000, 1, 500);
    for place in 0..6 {
        let frames = tone.iter().flat_map(|it| {
            let mut frame = [0.001, -0.001, 0.0, 0.0, 0.002, 0.0];
            frame[place] = *it;
            frame
        });
        let bytes = wav(16_000, 6, 16, &frames.collect::<Vec<_>>());
        assert_is_the_tone(&heard(&bytes), 1e-3);
    }
}

proptest! {
    #[test]
    fn no_bytes_whatever_make_it_panic(
        which in 0..14_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..24),
        near_the_front in any::<bool>(),
        length in any::<prop::sample::Index>(),
    ) {
        let floats = wav(48_000, 2, 24, &sine(440.0, 48_000, 2, 150));
        let files = [
            FLAC, MP3, VORBIS, OPUS, M4A, WEBM, CAF, AIFF, &floats, tone!("tone-ima.wav"), tone!("tone-ms.wav"),
            tone!("tone-mp3.wav"), tone!("tone-alac.m4a"), tone!("tone-opus.mp4"),
        ];
        let mut bytes = files[which].to_vec();
        for (index, value) in edits {
            let within = if near_the_front { 64 } else { bytes.len() };
            let place = index.index(within);
            bytes[place] = value;
        }
        bytes.truncate(length.index(bytes.len()) + bytes.len() / 2);
        let _ = decode(&bytes.as_slice());
    }
}
