//! Runs a keyword model on recordings: each is processed as the daemon processes a microphone, faster than real time,
//! because no clock is involved. Prints one JSON object per recording:
//!
//! ```json
//! {"audio":"hey_gemma/0001.wav","seconds":4.2,"spotted":[3.12]}
//! ```
//!
//! `spotted` holds the times in the recording, in seconds, at which the word was spotted. Silence is heard before and after
//! each recording, as by a microphone that is open all the time: without it a word at its beginning would be heard by
//! nothing.

#![expect(clippy::cast_precision_loss, reason = "times of some minutes")]

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use gemmad::config::{Keyword, Mode, Word};
use gemmad::listen::Spotter;
use gemmad::sound::SAMPLE_RATE;
use gemmad_testbed::speech;
use serde_json::{Value, json};

/// Samples per push: 10 ms.
const PUSH: usize = SAMPLE_RATE as usize / 100;

/// Silence before and after a recording, in samples: 2.5 s, as much as a keyword's window and what it is computed of, and 1 s.
const BEFORE: usize = SAMPLE_RATE as usize * 5 / 2;
const AFTER: usize = SAMPLE_RATE as usize;

#[derive(Debug, Parser)]
struct Args {
    /// Model of the keyword.
    model: PathBuf,
    /// Manifest of the recordings: lines of JSON with `audio`, a path relative to the manifest.
    manifest: PathBuf,
    /// Number of scores in a row that must reach the threshold.
    #[arg(long, default_value = "1")]
    patience: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let word = Word {
        model: args.model,
        patience: serde_json::from_str(&args.patience)?,
        ..Word::default()
    };
    let keyword = Keyword {
        words: vec![word],
        ..Keyword::default()
    };
    let (spotter, errors) = Spotter::new(Mode::Wake, &keyword);
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    let mut spotter = spotter.context("there is no word")?;
    let lines = std::fs::read_to_string(&args.manifest)
        .with_context(|| format!("cannot read {}", args.manifest.display()))?;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        let audio = line["audio"].as_str().context("a line has no `audio`")?;
        let path = args.manifest.with_file_name(audio);
        let sound = speech::read(&path).with_context(|| path.display().to_string())?;
        spotter.reset();
        let mut times = Vec::new();
        let length = seconds(sound.len());
        let sound = [vec![0.0; BEFORE], sound, vec![0.0; AFTER]].concat();
        for (nth, piece) in sound.chunks(PUSH).enumerate() {
            if !spotter.push(piece).is_empty() {
                times.push(seconds(nth * PUSH + piece.len()) - seconds(BEFORE));
            }
        }
        let heard = json!({"audio": audio, "seconds": length, "spotted": times});
        println!("{heard}");
    }
    Ok(())
}

fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}
