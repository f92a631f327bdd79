//! Speech at 16 kHz, synthesised by espeak-ng, and sound files.

use std::{path::Path, process::Command};

use rubato::{Fft, FixedSync, Resampler, audioadapter_buffers::direct::SequentialSlice};

use crate::Error;

/// Sample rate of speech, as for Gemma 4, in Hz.
pub const RATE: u32 = 16_000;

/// Frames resampled at a time. The size does not change the sound.
const CHUNK: usize = 1024;

/// Synthesises `text`: mono samples from -1 to 1 at [`RATE`]. `voice` is a voice of espeak-ng with an
/// optional variant, such as `en-us` or `en-gb+f3`. Equal texts and voices give equal samples.
///
/// # Errors
/// When espeak-ng is not installed or does not know the voice.
pub fn say(text: &str, voice: &str) -> Result<Vec<f32>, Error> {
    let file = tempfile::NamedTempFile::new().map_err(Error::file(&std::env::temp_dir()))?;
    run(espeak(voice).arg("-w").arg(file.path()).args(["--", text]))?;
    read(file.path())
}

/// What espeak-ng writes to a pipe when it says `text`: a 16-bit mono WAV file whose header does not know its length.
///
/// # Errors
/// When espeak-ng is not installed or does not know the voice.
pub fn piped(text: &str, voice: &str) -> Result<Vec<u8>, Error> {
    run(espeak(voice).args(["--stdout", "--", text]))
}

fn espeak(voice: &str) -> Command {
    let mut espeak = Command::new("espeak-ng");
    espeak.args(["-v", voice]);
    espeak
}

/// Runs espeak-ng; returns what it writes.
fn run(espeak: &mut Command) -> Result<Vec<u8>, Error> {
    let program = || "espeak-ng".into();
    let output = espeak.output().map_err(|source| Error::Program {
        program: program(),
        source,
    })?;
    if !output.status.success() {
        return Err(Error::NotStarted {
            program: program(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(output.stdout)
}

/// Reads a 16-bit mono WAV file: samples from -1 to 1 at [`RATE`].
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<f32>, Error> {
    let (samples, rate) = read_wav(path)?;
    resample(&samples, rate, RATE)
}

/// `milliseconds` of silence at [`RATE`].
#[must_use]
pub fn silence(milliseconds: u32) -> Vec<f32> {
    vec![0.0; (milliseconds * RATE / 1000) as usize]
}

/// Writes `samples` (mono, from -1 to 1) to `path` as a 16-bit WAV file at [`RATE`].
///
/// # Errors
/// When the file cannot be written.
pub fn write_wav(path: &Path, samples: &[f32]) -> Result<(), Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write = || {
        let mut writer = hound::WavWriter::create(path, spec)?;
        for &sample in samples {
            writer.write_sample(to_i16(sample))?;
        }
        writer.finalize()
    };
    write().map_err(|error: hound::Error| Error::Sound(error.to_string()))
}

/// The nearest 16-bit sample.
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of i16"
)]
pub(crate) fn to_i16(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16
}

/// Resamples mono `samples` from the rate `from` to the rate `to`.
pub(crate) fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, Error> {
    if from == to {
        return Ok(samples.to_vec());
    }
    let resampled = || -> Result<Vec<f32>, Box<dyn std::error::Error>> {
        let mut resampler = Fft::new(from as usize, to as usize, CHUNK, 1, FixedSync::Both)?;
        let input = SequentialSlice::new(samples, 1, samples.len())?;
        let output = resampler.process_all(&input, samples.len(), None)?;
        Ok(output.take_data())
    };
    resampled().map_err(|error| Error::Sound(error.to_string()))
}

/// The 16-bit mono samples of a WAV file and their rate.
fn read_wav(path: &Path) -> Result<(Vec<f32>, u32), Error> {
    let read = || -> Result<(Vec<f32>, u32), hound::Error> {
        let mut reader = hound::WavReader::open(path)?;
        let rate = reader.spec().sample_rate;
        let samples = reader.samples::<i16>();
        let samples = samples
            .map(|sample| Ok(f32::from(sample?) / -f32::from(i16::MIN)))
            .collect::<Result<_, hound::Error>>()?;
        Ok((samples, rate))
    };
    read().map_err(|error| Error::Sound(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoken_words_are_sound_of_a_plausible_length_and_always_the_same() {
        let words = say("turn on the kitchen light", "en-us").unwrap();
        assert!((16_000..48_000).contains(&words.len()), "{}", words.len());
        let loudest = words.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!((0.1..=1.0).contains(&loudest), "{loudest}");
        assert_eq!(words, say("turn on the kitchen light", "en-us").unwrap());
    }

    #[test]
    fn resampling_there_and_back_keeps_the_sound() {
        let tone: Vec<f32> = (0_i16..1600)
            .map(|i| (f32::from(i) * 0.1).sin() * 0.5)
            .collect();
        let back = resample(&resample(&tone, 16_000, 48_000).unwrap(), 48_000, 16_000).unwrap();
        assert_eq!(back.len(), tone.len());
        for (a, b) in tone[200..1400].iter().zip(&back[200..1400]) {
            assert!((a - b).abs() < 0.01, "{a} {b}");
        }
    }

    #[test]
    fn a_written_sound_file_is_read_back_as_it_was() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let words = say("yes", "en-us").unwrap();
        write_wav(file.path(), &words).unwrap();
        let (back, rate) = read_wav(file.path()).unwrap();
        assert_eq!((rate, back.len()), (RATE, words.len()));
    }
}
