//! What gemmad makes of recordings: where it hears utterances, and which commands it takes them for. Each line of standard
//! input names a recording of at most 30 s; each line of standard output tells what became of it:
//!
//! ```json
//! {"path":"a.wav","utterances":1,"late_ms":null,"one":1,"both":0,"asked":1,"halts":0,"readings":[[0.98,0.91,false]],"transcript":"Hello."}
//! ```
//!
//! `utterances`: how many there are, with silence before and behind the recording, as through a microphone in mode
//! `always`. `late_ms`: how long after the first loud sound the first one begins, if it does so later. `one`: how many
//! of them give commands by their sound; `both`, `asked`: how many of these are carried out and asked about; `halts`: how
//! many of those carried out halt. `readings`: the confidence in the sound's reading and in the transcript, and whether
//! they agree, where both were read. `transcript`: that of the whole recording.

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
use gemmad::assistant::Talk;
use gemmad::commands::timers::Timers;
use gemmad::commands::{Commands, Force, Outcome, Precaution, Readings, Scope, Verdict};
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
    let engine = Engine::start(&config, None)?;
    engine.load();
    let talk = Arc::new(Talk::new(settings.clone()));
    let commands = Commands::start(
        settings,
        engine.clone(),
        Environment::of_the_system(),
        Timers::new(None),
        talk,
    )?;
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
        let mut readings = Vec::new();
        for utterance in &utterances {
            readings.push(self.read(utterance).await?);
        }
        let verdicts = |of| readings.iter().filter(|it| it.verdict == Some(of)).count();
        let seen: Vec<_> = readings.iter().filter_map(|it| it.readings).collect();
        let seen = seen
            .iter()
            .map(|it| json!([it.sound, it.transcript, it.agree]));
        Ok(json!({
            "path": path,
            "utterances": utterances.len(),
            "late_ms": late_ms,
            "one": readings.iter().filter(|it| it.verdict.is_some()).count(),
            "both": verdicts(Verdict::CarryOut),
            "asked": verdicts(Verdict::Ask),
            "halts": readings.iter().filter(|it| it.halts).count(),
            "readings": seen.collect::<Vec<_>>(),
            "transcript": self.read(sound).await?.transcript,
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
        let mut answers = turn.ask(requests).await?.into_iter();
        let (answer, confidence) = read(answers.next()).await?;
        let (transcript, of_transcript) = read(answers.next()).await?;
        let mut reading = Reading {
            transcript,
            ..Reading::default()
        };
        if !matches!(force.catalogue.read(&answer), Ok(Outcome::Commands(_))) {
            return Ok(reading);
        }
        reading.verdict = Some(match force.catalogue.precaution(&answer) {
            Precaution::None => {
                reading.halts = true;
                Verdict::CarryOut
            }
            Precaution::Consent => Verdict::Ask,
            Precaution::SecondReading if reading.transcript.trim().is_empty() => Verdict::Nothing,
            Precaution::SecondReading => {
                let text = Question::Text(reading.transcript.clone());
                let second = engine.submit_for(&turn, command(text)).await?;
                let (second, _) = read(Some(second)).await?;
                let readings = Readings {
                    sound: confidence.mean(),
                    transcript: of_transcript.mean(),
                    agree: force.catalogue.agree(&answer, &second),
                };
                reading.readings = Some(readings);
                readings.verdict(config.commands.certainty)
            }
        });
        Ok(reading)
    }
}

/// The whole answer; nothing if there is none, or it did not end.
async fn read(answer: Option<Answer>) -> anyhow::Result<(String, Confidence)> {
    let Some(answer) = answer else {
        return Ok(<_>::default());
    };
    match answer.text().await {
        Ok((text, stats)) => Ok((text, stats.confidence)),
        Err(EngineError::Incomplete { .. }) => Ok(<_>::default()),
        Err(error) => Err(error.into()),
    }
}

/// What was made of an utterance.
#[derive(Default)]
struct Reading {
    transcript: String,
    /// What becomes of its commands; `None`: it gives none.
    verdict: Option<Verdict>,
    /// Whether it is carried out because it halts.
    halts: bool,
    readings: Option<Readings>,
}
