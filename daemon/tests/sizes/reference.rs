//! The engine's answers, judged by llama.cpp (`examples/llama_cpp.rs`).

use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::LONGEST;
use super::model::{Files, Gemma};

/// By how much a token may be less likely than llama.cpp's likeliest: its logit is less by that. The logits of the tiny files
/// have a deviation of 1, so a token that was drawn by mistake is less by 3 or more.
const TIE: f32 = 0.25;

/// Answers that were judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Judged {
    /// Their tokens.
    pub tokens: usize,
    /// Tokens that are not llama.cpp's likeliest, but as likely but for roundings.
    pub ties: usize,
    /// By how much the least likely of them was less.
    pub most: f32,
}

/// What is said in a prompt.
#[derive(Debug, Clone, Copy)]
pub enum Said<'a> {
    Text(&'a str),
    Sound(&'a [f32]),
}

/// What llama.cpp thinks of an answer.
#[derive(Debug, Deserialize)]
struct Judgement {
    /// For each token, by how much its logit is less than the greatest.
    gaps: Vec<f32>,
}

impl Judged {
    /// Judges the answer of a model to what was said.
    ///
    /// # Panics
    /// When it is not llama.cpp's, but for ties.
    pub fn new(gemma: &Gemma, files: &Files, said: Said<'_>, answer: &[i32]) -> Self {
        assert_eq!(answer.len(), LONGEST as usize, "{answer:?}");
        let gaps = judge(gemma, files, said, answer);
        assert_eq!(gaps.len(), answer.len());
        let most = gaps.iter().copied().fold(0.0, f32::max);
        assert!(
            most <= TIE,
            "{files:?}: {answer:?} to {said:?} is less likely by {gaps:?}"
        );
        Self {
            tokens: gaps.len(),
            ties: gaps.iter().filter(|gap| **gap > 0.0).count(),
            most,
        }
    }
}

fn judge(gemma: &Gemma, files: &Files, said: Said<'_>, answer: &[i32]) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.arg("--text").arg(&files.text);
    let said = match said {
        Said::Text(text) => text,
        Said::Sound(samples) => {
            let path = folder.path().join("sound.wav");
            write(&path, samples);
            command.arg("--mmproj").arg(&files.mmproj);
            command.arg("--audio").arg(path);
            "<__media__>"
        }
    };
    let answer: Vec<_> = answer.iter().map(i32::to_string).collect();
    command.args([
        "--prompt",
        &gemma.prompt(said),
        "--judge",
        &answer.join(","),
    ]);
    command.args(["--threads", "1", "--context", "2048"]);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let judgement: Judgement = serde_json::from_slice(&output.stdout).unwrap();
    judgement.gaps
}

/// Writes samples as they are, in 32-bit floats.
fn write(path: &Path, samples: &[f32]) {
    let form = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, form).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
}

/// Path of the example, next to this test's folder. Cargo builds examples before it runs tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    profile.join("examples/llama_cpp")
}

impl AddAssign for Judged {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.ties += other.ties;
        self.most = self.most.max(other.most);
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, ties, most } = self;
        write!(
            f,
            "{tokens} tokens, of them {ties} ties, less likely by at most {most:.3}"
        )
    }
}
