//! What gemmad makes of recordings: where it hears utterances, and which commands it takes them for. Each line of standard
//! input names a recording of at most 30 s; each line of standard output tells what became of it:
//!
//! ```json
//! {"path":"a.wav","utterances":1,"late_ms":null,"one":1,"both":0,"transcript":"Hello."}
//! ```
//!
//! `utterances`: how many there are, with silence before and behind the recording, as through a microphone in mode
//! `always`. `late_ms`: how long after the first loud sound the first one begins, if it does so later. `one`, `both`: how
//! many of them give commands by their sound, and how many also by their transcript, where that is asked. `transcript`: that of the whole recording.

#![expect(
    clippy::cast_precision_loss,
    reason = "levels, and times of some seconds"
)]

mod hearing;

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use gemmad::commands::{Commands, Force, Outcome, Precaution, Scope};
use gemmad::config::{Config, Settings};
use gemmad::engine::{Answer, Confidence, Engine, EngineError, Question, Request};
use gemmad::platform::environment::Environment;
use gemmad::sound::decode;
use hearing::Heard;
use serde_json::json;

#[derive(Debug, Parser)]
struct Args {
    /// The daemon's configuration.
    #[arg(long)]
    config: PathBuf,
}

/// A model, the commands, and the settings.
struct Ear {
    config: Arc<Config>,
    engine: Engine,
    force: Arc<Force>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = Settings::load(args.config)?;
    let config = settings.current();
    let engine = Engine::start(&config)?;
    engine.load();
    let commands = Commands::start(settings, engine.clone(), Environment::of_the_system())?;
    let force = commands.force().context("commands are switched off")?;
    let ear = Ear {
        config,
        engine,
        force,
    };
    for path in io::stdin().lock().lines() {
        let path = path?;
        match decode(&std::fs::read(&path)?.as_slice()) {
            Ok(decoded) => println!("{}", ear.hear(&path, &decoded.samples).await?),
            Err(error) => eprintln!("{path}: {error}"),
        }
    }
    ear.engine.stop().await;
    Ok(())
}

impl Ear {
    async fn hear(&self, path: &str, sound: &[f32]) -> anyhow::Result<serde_json::Value> {
        let Heard {
            utterances,
            late_ms,
        } = Heard::of(&self.config.voice, sound);
        let (mut one, mut both) = (0, 0);
        let mut readings = Vec::new();
        for utterance in &utterances {
            let reading = self.read(utterance).await?;
            one += u32::from(reading.by_sound);
            both += u32::from(reading.by_both);
            readings.push(reading.sure);
        }
        let transcript = self.read(sound).await?.transcript;
        Ok(json!({
            "path": path,
            "utterances": utterances.len(),
            "late_ms": late_ms,
            "one": one,
            "both": both,
            "readings": readings,
            "transcript": transcript,
        }))
    }

    async fn read(&self, sound: &[f32]) -> anyhow::Result<Reading> {
        let Self {
            config,
            engine,
            force,
        } = self;
        let turn = engine.listen(force.preamble.clone()).await?;
        turn.push(sound.to_vec());
        let command = |question| force.request(&config.answer, question, Scope::All);
        let transcribe = Request::transcript(&config.transcribe, &config.transcribe.language);
        let requests = [command(Question::Heard(None)), transcribe];
        let mut texts = Vec::new();
        let mut sure = Vec::new();
        for answer in turn.ask(requests).await? {
            let (text, confidence) = read(answer).await?;
            texts.push(text);
            sure.push((confidence.mean(), confidence.least()));
        }
        let [answer, transcript] = texts.try_into().unwrap_or_default();
        let mut reading = Reading {
            by_sound: false,
            by_both: false,
            transcript: transcript.clone(),
            sure,
        };
        if !matches!(force.catalogue.read(&answer), Ok(Outcome::Commands(_))) {
            return Ok(reading);
        }
        reading.by_sound = true;
        if force.catalogue.precaution(&answer) != Precaution::SecondReading {
            reading.by_both = true;
            return Ok(reading);
        }
        if transcript.trim().is_empty() {
            return Ok(reading);
        }
        let second = engine.submit_for(&turn, command(Question::Text(transcript.clone())));
        let (second, confidence) = read(second.await?).await?;
        reading.sure.push((confidence.mean(), confidence.least()));
        reading.by_both = force.catalogue.agree(&answer, &second);
        Ok(reading)
    }
}

/// The whole answer; nothing if it did not end.
async fn read(answer: Answer) -> anyhow::Result<(String, Confidence)> {
    match answer.text().await {
        Ok((text, stats)) => Ok((text, stats.confidence)),
        Err(EngineError::Incomplete { .. }) => Ok(<_>::default()),
        Err(error) => Err(error.into()),
    }
}

/// What was made of an utterance.
struct Reading {
    /// Whether its sound gives commands, and whether its transcript gives the same.
    by_sound: bool,
    by_both: bool,
    transcript: String,
    /// Confidence in the readings: mean and least.
    sure: Vec<(f64, f64)>,
}
