use std::io::{Seek, SeekFrom, Write};

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;

use super::*;
use crate::voice::sounds::{sine, spoken, spoken_wav};

// Half a second of `sine(440.0, 22_050, 1, 500)`, encoded by sox.
const FLAC: &[u8] = include_bytes!("../testdata/tone.flac");
const MP3: &[u8] = include_bytes!("../testdata/tone.mp3");
const VORBIS: &[u8] = include_bytes!("../testdata/tone.ogg");

/// The samples as a client's regular file.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn heard(bytes: &[u8]) -> Vec<f32> {
    decode(file(bytes)).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(bytes: &[u8]) -> String {
    decode(file(bytes)).unwrap_err().to_string()
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

/// A minimal 16-bit WAV file by hand, so that its header can say anything.
fn raw_wav(rate: u32, channels: u16, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(data);
    bytes[4..8].copy_from_slice(&(length + 36).to_le_bytes());
    bytes
}

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

#[test]
fn wav_of_every_depth_rate_and_channel_count_is_heard() {
    for (bits, worst) in [(8, 0.012), (16, 1e-3), (24, 1e-3), (32, 1e-3)] {
        for (rate, channels) in [(16_000, 1), (48_000, 2), (8_000, 1), (44_100, 6)] {
            let bytes = wav(rate, channels, bits, &sine(440.0, rate, channels, 500));
            assert_is_the_tone(&heard(&bytes), worst);
        }
    }
}

#[test]
fn wav_with_floats_is_heard() {
    let spec = WavSpec {
        channels: 2,
        sample_rate: 48_000,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for sample in sine(440.0, 48_000, 2, 500) {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_is_the_tone(&heard(&bytes.into_inner()), 1e-3);
}

#[test]
fn sixteen_bits_at_16_khz_mono_are_exactly_the_samples_of_the_file() {
    let samples = [0_i16, 1, -1, 12345, i16::MAX, i16::MIN].repeat(400);
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    let expected: Vec<f32> = samples
        .iter()
        .map(|sample| f32::from(*sample) / 32768.0)
        .collect();
    assert_eq!(heard(&raw_wav(RATE, 1, &data)), expected);
}

#[test]
fn flac_mp3_and_vorbis_are_heard() {
    assert_is_the_tone(&heard(FLAC), 1e-3);
    assert_is_the_tone(&heard(VORBIS), 0.02);
    // LAME delays by 1105 samples, which this file does not state, and scales by 0.95.
    let mp3 = heard(MP3);
    assert!((8_000..9_300).contains(&mp3.len()), "{} samples", mp3.len());
    let power = mp3[2_000..6_000]
        .iter()
        .map(|sample| sample * sample)
        .sum::<f32>()
        / 4_000.0;
    assert!((0.11..0.13).contains(&power), "{power}");
}

#[test]
fn a_pipe_whose_header_does_not_know_the_length_is_heard_to_the_last_sample() {
    let bytes = spoken_wav("turn on the kitchen light");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let client = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let samples = decode(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
    client.join().unwrap();
    assert_eq!(samples, spoken("turn on the kitchen light"));
}

#[test]
fn an_empty_file_is_refused() {
    assert!(refusal(b"").contains("empty"));
}

#[test]
fn text_named_wav_is_refused() {
    let text = "RIFFraff said: this is no sound. ".repeat(100);
    let message = refusal(text.as_bytes());
    assert!(message.contains("not a sound file"), "{message}");
    assert!(refusal(b"x").contains("not a sound file"));
}

#[test]
fn more_than_30_s_is_refused_with_its_length_and_exactly_30_s_is_not() {
    let second = sine(440.0, 8_000, 1, 1000);
    let message = refusal(&wav(8_000, 1, 16, &second.repeat(40)));
    assert!(
        message.starts_with("the sound is 40.0 s long; Gemma 4 hears at most 30 s"),
        "{message}"
    );
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
    assert!(
        decode(huge)
            .unwrap_err()
            .to_string()
            .contains("larger than 64 MiB")
    );
}

#[test]
fn a_directory_is_refused() {
    let message = decode(File::open("/").unwrap()).unwrap_err().to_string();
    assert!(message.contains("cannot be read"), "{message}");
}

#[test]
fn absurd_rates_and_channel_counts_are_refused_by_name() {
    let data = vec![0; 64_000];
    for rate in [0, 1, 3_999, 10_000_000, u32::MAX] {
        let message = refusal(&raw_wav(rate, 1, &data));
        assert!(
            message.contains(&format!("claims {rate} samples per second")),
            "{message}"
        );
    }
    for channels in [0, 255, u16::MAX] {
        let message = refusal(&raw_wav(16_000, channels, &data));
        assert!(
            message.contains(&format!("claims {channels} channels")),
            "{message}"
        );
    }
}

#[test]
fn a_header_that_lies_about_the_length_costs_no_sound() {
    let honest = wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 500));
    let expected = heard(&honest);
    for lie in [0, 36, 8_000, 0x7fff_ffff, u32::MAX] {
        let mut bytes = honest.clone();
        bytes[4..8].copy_from_slice(&lie.to_le_bytes());
        assert_eq!(heard(&bytes), expected, "RIFF length {lie}");
    }
    for lie in [16_001_u32, 0x7fff_ffff, u32::MAX] {
        let mut bytes = honest.clone();
        bytes[40..44].copy_from_slice(&lie.to_le_bytes());
        assert_eq!(heard(&bytes), expected, "data length {lie}");
    }
}

#[test]
fn a_truncated_file_gives_what_it_has_or_says_that_it_is_damaged() {
    let whole = wav(16_000, 1, 16, &sine(440.0, 16_000, 1, 500));
    assert_eq!(heard(&whole[..44 + 8_001]).len(), 4_000);
    for bytes in [&whole[..44], &whole[..30], &FLAC[..60], &VORBIS[..200]] {
        let message = refusal(bytes);
        assert!(message.contains("damaged or cut off"), "{message}");
    }
    for cut in [&FLAC[..FLAC.len() * 3 / 4], &MP3[..MP3.len() / 2]] {
        assert!((3_000..7_000).contains(&heard(cut).len()));
    }
}

proptest! {
    #[test]
    fn no_bytes_whatever_make_it_panic(
        which in 0..5_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..24),
        near_the_front in any::<bool>(),
        length in any::<prop::sample::Index>(),
    ) {
        let speech = raw_wav(22_050, 2, &[7; 9_000]);
        let floats = wav(48_000, 2, 24, &sine(440.0, 48_000, 2, 150));
        let mut bytes = [FLAC, MP3, VORBIS, &speech, &floats][which].to_vec();
        for (index, value) in edits {
            let within = if near_the_front { 64 } else { bytes.len() };
            let place = index.index(within);
            bytes[place] = value;
        }
        bytes.truncate(length.index(bytes.len()) + bytes.len() / 2);
        let _ = decode_bytes(bytes);
    }
}
