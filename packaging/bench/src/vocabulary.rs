//! Gemma's own vocabulary of 262,144 pieces, under random weights: loading, grammars, long texts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gemmad_api::AskOptions;
use gemmad_testbed::{Bus, Daemon, Model};
use tokio::process::Command;
use xtask::command::{root, target};

use crate::{figure::Figure, setting::Bench};

const ROUNDS: usize = 5;

/// The longest text that is admitted, in bytes.
const LONGEST: usize = 1 << 20;

/// Units of the texts that are tokenised: what text is made of, what llama.cpp looks for in it, and what it knows
/// nothing of.
const UNITS: [&str; 10] = [
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
];

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
    let figure = |name: &str, samples| Figure::new(name, "ms", samples, &model);
    Ok(vec![
        figure("vocabulary_load_ms", load)?
            .meaning("From the start of the daemon until it is ready, with Gemma's vocabulary under little weights"),
        figure("vocabulary_first_command_ms", first)?
            .goal("≤ 1000 ms")
            .meaning("What the first command after that takes longer than the next, with the shipped catalogues"),
        figure("tokenise_worst_ms", vec![worst])?
            .goal("≤ 200 ms")
            .meaning("The longest text that is admitted, 1 MiB of the slowest of ten units, until it is refused for its number of tokens"),
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
