//! Utterances written to files, to check what the model was given. This happens only where the configuration asks for
//! it; otherwise speech is kept in memory alone.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hound::{SampleFormat, WavSpec, WavWriter};

use super::resample::RATE;

/// A growing utterance, and the path of its file.
pub struct Recording {
    path: PathBuf,
    samples: Vec<f32>,
}

impl Recording {
    /// Begins the recording of the utterance with that number, in `folder`; `None` where `folder` is empty.
    pub fn begin(folder: &str, utterance: u64) -> Option<Self> {
        if folder.is_empty() {
            return None;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let name = format!("{seconds}-{utterance}.wav");
        let path = Path::new(folder).join(name);
        let samples = Vec::new();
        Some(Self { path, samples })
    }

    /// Appends samples, 16 kHz mono.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
    }

    /// Writes the file, readable by its owner alone. Blocks.
    pub fn write(self) {
        let path = self.path.display().to_string();
        match self.try_write() {
            Ok(()) => {
                log::warn!(
                    "an utterance was recorded in {path}; set [voice] record to \"\" to stop"
                );
            }
            Err(error) => log::warn!("cannot record the utterance in {path}: {error}"),
        }
    }

    fn try_write(self) -> Result<(), hound::Error> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)?;
        let spec = WavSpec {
            channels: 1,
            sample_rate: RATE,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        let mut writer = WavWriter::new(std::io::BufWriter::new(file), spec)?;
        for sample in self.samples {
            writer.write_sample(sample)?;
        }
        writer.finalize()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::sound::decode;

    #[test]
    fn only_what_somebody_wants_recorded_is_and_only_its_owner_may_hear_it() {
        assert!(Recording::begin("", 1).is_none());
        let folder = tempfile::tempdir().unwrap();
        let mut recording = Recording::begin(folder.path().to_str().unwrap(), 7).unwrap();
        let sound = [[0.25; 1600], [-0.5; 1600]];
        for piece in &sound {
            recording.push(piece);
        }
        recording.write();
        let file = std::fs::read_dir(folder.path()).unwrap().next();
        let path = file.unwrap().unwrap().path();
        assert!(path.to_str().unwrap().ends_with("-7.wav"), "{path:?}");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let written = decode(&File::open(path).unwrap()).unwrap();
        assert_eq!(written.samples, sound.concat());
    }
}
