//! Prefill and decode of the E2B shape: gemmad over the bus against plain llama.cpp.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use gemmad_testbed::{Bus, Daemon};
use serde::Deserialize;
use tokio::process::Command;

use super::{Bench, Figure, ask::ask};

/// Pairs of runs; both sides run once unmeasured before, since the first run faults the file in.
const ROUNDS: usize = 5;

/// Letters of a prompt, each a token in the shape's vocabulary: a question with some context.
const LETTERS: usize = 240;

/// Tokens of an answer: some sentences.
const TOKENS: u32 = 48;

/// Threads of both sides, as gemmad chooses them by itself.
const MOST_THREADS: usize = 4;

/// What `llama_cpp` prints.
#[derive(Deserialize)]
struct Run {
    tokens: Vec<i32>,
    prompt_rows: u32,
    prefill_ms: f64,
    decode_ms: f64,
}

/// Tokens a second.
struct Rates {
    prefill: f64,
    decode: f64,
}

/// Measures `prefill_ratio`, `decode_ratio` and the rates they come from.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let setup = Daemon::setup(&bus).binaries(bench.binaries.clone());
    let daemon = setup.model(&bench.shape).start().await?;
    gemmad(&daemon, &prompt(0)).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let prompt = prompt(round);
        theirs.push(llama_cpp(bench, &prompt).await?);
        ours.push(gemmad(&daemon, &prompt).await?);
    }

    let rates = |runs: &[Rates], of: fn(&Rates) -> f64| runs.iter().map(of).collect::<Vec<_>>();
    let mut figures = Vec::new();
    for (name, of) in [
        ("prefill", (|run| run.prefill) as fn(&Rates) -> f64),
        ("decode", |run| run.decode),
    ] {
        let (ours, theirs) = (rates(&ours, of), rates(&theirs, of));
        let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
        let ratio = Figure::new(&format!("{name}_ratio"), "", ratios.collect(), &bench.shape)?;
        let meaning =
            format!("{name} rate of gemmad over the bus, divided by that of plain llama.cpp.");
        figures.push(ratio.meaning(&meaning).goal("≥ 0.95"));
        for (whose, rates) in [("gemmad", ours), ("llama.cpp", theirs)] {
            let name = format!("{name}_{}", whose.replace('.', "_"));
            let figure = Figure::new(&name, "tokens/s", rates, &bench.shape)?;
            figures.push(figure.meaning(&format!("The rate of {whose} alone.")));
        }
    }
    Ok(figures)
}

/// Text of its own for each round, so that nothing of it is cached.
fn prompt(round: usize) -> String {
    let letters = ('a'..='z').cycle().step_by(2 * round + 1);
    letters.take(LETTERS).collect()
}

/// Prefill counts from the request to the first text, decode from there to the last.
async fn gemmad(daemon: &Daemon, prompt: &str) -> Result<Rates> {
    let answer = ask(daemon, prompt, TOKENS).await?;
    let stats = &answer.stats;
    let rows = stats.prompt_tokens - stats.cached_tokens;
    ensure!(stats.output_tokens > 1, "the answer has only one token");
    Ok(Rates {
        prefill: f64::from(rows) / answer.first.as_secs_f64(),
        decode: f64::from(stats.output_tokens - 1) / answer.rest.as_secs_f64(),
    })
}

async fn llama_cpp(bench: &Bench, prompt: &str) -> Result<Rates> {
    let threads = std::thread::available_parallelism()?
        .get()
        .min(MOST_THREADS);
    // What the shape's template makes of a question.
    let prompt =
        format!("<bos><|turn>user\n{prompt}<turn|>\n<|turn>model\n<|channel>thought\n<channel|>");
    let output = Command::new(&bench.llama_cpp)
        .arg("--text")
        .arg(&bench.shape.text)
        .args(["--prompt", &prompt, "--ignore-end", "--runs", "2"])
        .args([
            "--max-tokens",
            &TOKENS.to_string(),
            "--threads",
            &threads.to_string(),
        ])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "plain llama.cpp failed");
    let text = String::from_utf8(output.stdout)?;
    let line = text
        .lines()
        .last()
        .context("plain llama.cpp said nothing")?;
    let run: Run = serde_json::from_str(line)?;
    let tokens = u32::try_from(run.tokens.len())?;
    Ok(Rates {
        prefill: 1000.0 * f64::from(run.prompt_rows) / run.prefill_ms,
        decode: 1000.0 * f64::from(tokens) / run.decode_ms,
    })
}
