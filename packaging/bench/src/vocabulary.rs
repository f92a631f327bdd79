//! Gemma's own vocabulary of 262,144 pieces, under random weights: loading, grammars, long texts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gemmad_api::AskOptions;
use gemmad_testbed::{Bus, Daemon, Model};
use serde::Deserialize;
use tokio::process::Command;
use xtask::command::{root, target};

use crate::{figure::Figure, setting::Bench};

const ROUNDS: usize = 5;

/// The longest text that is admitted, in bytes.
const LONGEST: usize = 1 << 20;

/// Units of the texts that are tokenised: what text is made of, what llama.cpp looks for in it, and what it knows
/// nothing of.
const UNITS: [&str; 13] = [
    "a",
    "\n",
    " ",
    "<",
    "ab ",
    "é",
    "🙂",
    "<h1>",
    "[multimodal]",
    "word ",
    "=",
    "\u{e29}",
    "QmFzZTY0",
];

/// Texts of this repository that fit into the context together.
const FITTING: [&str; 5] = [
    "README.md",
    "docs/architecture.md",
    "docs/commands.md",
    "docs/install.md",
    "docs/voice.md",
];

/// The output of `rehearsal`: numbers of tokens, and times in ms.
#[derive(Deserialize)]
struct Rehearsal {
    drawn: u32,
    forced: u32,
    step_ms: Vec<f64>,
}

/// The model with this vocabulary.
pub fn model() -> Result<Model> {
    Ok(Model::in_folder(
        &target()?.join("shape"),
        "tiny-gemma-q4_0",
    ))
}

/// Measures all figures of the vocabulary.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let model = model()?;
    let bus = Bus::start().await?;
    let cache = tempfile::tempdir()?;
    let catalogues = root().join("configs/commands");
    let start = || {
        Daemon::setup(&bus)
            .binaries(bench.binaries.clone())
            .model(&model)
            .commands(&catalogues)
            .set("engine", "context", 32_768)
            .set("engine", "longest_question", 32_768)
            // Random weights seldom come to an end.
            .set("answer", "max_tokens", 8)
            .env("XDG_CACHE_HOME", cache.path())
            .start()
    };
    // The first run of the files is not measured.
    start().await?.stop().await?;
    let (mut load, mut first) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let daemon = start().await?;
        load.push(milliseconds(begun.elapsed()));
        let (one, other) = (command(&daemon).await?, command(&daemon).await?);
        first.push(milliseconds(one) - milliseconds(other));
        daemon.stop().await?;
    }
    let daemon = start().await?;
    let mut texts = Vec::new();
    for unit in UNITS {
        texts.push(tokenised(&daemon, unit).await?);
    }
    let worst = texts.into_iter().fold(0.0, f64::max);
    let fitting = fitting(&daemon).await?;
    daemon.stop().await?;
    let rehearsal = rehearsal(bench, &model).await?;
    let tokens = f64::from(rehearsal.drawn + rehearsal.forced);
    let mut steps = rehearsal.step_ms;
    steps.sort_by(f64::total_cmp);
    let [half, most] = [50, 99].map(|percent| steps[steps.len() * percent / 100]);
    let figure = |name: &str, samples| Figure::new(name, "ms", samples, &model);
    Ok(vec![
        figure("vocabulary_load_ms", load)?
            .meaning("From the start of the daemon until it is ready, with Gemma's vocabulary under little weights"),
        figure("vocabulary_first_command_ms", first)?
            .goal("≤ 1000 ms")
            .meaning("What the first command after that takes longer than the next, with the shipped catalogues"),
        figure("tokenise_worst_ms", vec![worst])?
            .goal("≤ 200 ms")
            .meaning("The longest text that is admitted, 1 MiB of the slowest of 13 units, until it is refused for its number of tokens"),
        figure("tokenise_fitting_ms", fitting)?
            .meaning("74 kB of this repository's documentation, which fit into 32,768 tokens, until they are shown as they would be read"),
        Figure::new("decoded_share_gemma", "", vec![f64::from(rehearsal.drawn) / tokens], &model)?
            .goal("≤ 0.4")
            .meaning("`decoded_share` over Gemma's vocabulary: tokens of the right calls of `voices` that a model has to draw, by all of them"),
        figure("grammar_step_ms", vec![half])?
            .meaning("Median time of the grammar for a token of a call over Gemma's vocabulary: to know which may be drawn (the mask), and what has to follow"),
        figure("grammar_step_p99_ms", vec![most])?.meaning("99th percentile of the same"),
    ])
}

/// Time of a command. What random weights make of it is of no interest.
async fn command(daemon: &Daemon) -> Result<Duration> {
    let mut command = Command::from(daemon.gemmactl()?);
    let begun = Instant::now();
    command
        .args(["command", "--dry-run", "stop"])
        .output()
        .await?;
    Ok(begun.elapsed())
}

/// Leads the right calls through the grammar of the shipped catalogues.
async fn rehearsal(bench: &Bench, model: &Model) -> Result<Rehearsal> {
    let mut command = Command::new(bench.llama_cpp.with_file_name("rehearsal"));
    command.arg("--text").arg(&model.text);
    let catalogues = root().join("configs/commands");
    command.arg("--catalogues").arg(catalogues);
    let expected = bench.run.join("evaluation/voices.jsonl");
    let output = command.arg("--expected").arg(expected).output().await?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Times until texts that fit are rendered, in ms.
async fn fitting(daemon: &Daemon) -> Result<Vec<f64>> {
    let mut text = String::new();
    for path in FITTING {
        text += &std::fs::read_to_string(root().join(path))?;
    }
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        daemon
            .manager()
            .render(&text, AskOptions::default())
            .await?;
        times.push(milliseconds(begun.elapsed()));
    }
    Ok(times)
}

/// The median time until a text of this unit is refused, in ms.
async fn tokenised(daemon: &Daemon, unit: &str) -> Result<f64> {
    let text = unit.repeat(LONGEST / unit.len());
    let mut times = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let answered = daemon.manager().ask(&text, AskOptions::default()).await;
        times.push(milliseconds(begun.elapsed()));
        ensure!(answered.is_err(), "a text of {unit:?} is answered");
    }
    times.sort_by(f64::total_cmp);
    Ok(times[1])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
