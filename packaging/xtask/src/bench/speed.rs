//! Prefill and decode of the E2B shape: gemmad over the bus against plain llama.cpp.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use gemmad_testbed::{Bus, Daemon};
use serde::Deserialize;
use tokio::process::Command;

use super::{Bench, Figure, ask::ask};

/// Pairs of runs; in each, both sides run once unmeasured before, since the first run faults the file
/// in.
const ROUNDS: usize = 6;

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
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let prompt = prompt(round);
        // Each goes first in turn, so that a machine that grows slower favours neither.
        if round % 2 == 0 {
            ours.push(gemmad(bench, &bus, &prompt).await?);
            theirs.push(llama_cpp(bench, &prompt).await?);
        } else {
            theirs.push(llama_cpp(bench, &prompt).await?);
            ours.push(gemmad(bench, &bus, &prompt).await?);
        }
    }

    let prefill = |runs: &[Rates]| runs.iter().map(|run| run.prefill).collect();
    let decode = |runs: &[Rates]| runs.iter().map(|run| run.decode).collect();
    let mut figures = compare(bench, &PREFILL, prefill(&ours), prefill(&theirs))?;
    figures.extend(compare(bench, &DECODE, decode(&ours), decode(&theirs))?);
    Ok(figures)
}

/// What is compared, and how each side is timed.
struct Rate {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
}

const PREFILL: Rate = Rate {
    name: "prefill",
    ours: "Rows of the prompt a second in gemmad, from the client's request to its first piece of text.",
    theirs: "Rows of the prompt a second in plain llama.cpp, within its calls to decode.",
};

const DECODE: Rate = Rate {
    name: "decode",
    ours: "Tokens a second in gemmad, from the first piece of text at the client to the last.",
    theirs: "Tokens a second in plain llama.cpp, from the first sampled token to the last.",
};

/// The ratio of each pair of runs, and both rates.
fn compare(bench: &Bench, rate: &Rate, ours: Vec<f64>, theirs: Vec<f64>) -> Result<Vec<Figure>> {
    let name = rate.name;
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
    let figure = |name: String, unit, samples| Figure::new(&name, unit, samples, &bench.shape);
    Ok(vec![
        figure(format!("{name}_ratio"), "", ratios.collect())?
            .goal("≥ 0.95")
            .meaning(&format!(
                "`{name}_gemmad` / `{name}_llama_cpp`, pair by pair."
            )),
        figure(format!("{name}_gemmad"), "tokens/s", ours)?.meaning(rate.ours),
        figure(format!("{name}_llama_cpp"), "tokens/s", theirs)?.meaning(rate.theirs),
    ])
}

/// Text of its own for each round, so that none of it is cached.
fn prompt(round: usize) -> String {
    let letters = ('a'..='z').cycle().step_by(2 * round + 1);
    letters.take(LETTERS).collect()
}

/// Prefill counts from the request to the first text, decode from there to the last.
///
/// The daemon is started for it and stopped after it. A process is a tenth faster or slower by which
/// pages of the machine's memory its weights got, and of two that live side by side each would always
/// get its own kind.
async fn gemmad(bench: &Bench, bus: &Bus, prompt: &str) -> Result<Rates> {
    let setup = Daemon::setup(bus).binaries(bench.binaries.clone());
    let daemon = setup.model(&bench.shape).start().await?;
    ask(&daemon, &self::prompt(0), TOKENS).await?;
    let answer = ask(&daemon, prompt, TOKENS).await?;
    daemon.stop().await?;
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
