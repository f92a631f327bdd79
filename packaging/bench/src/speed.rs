//! Prefill and decode with the E2B shape: gemmad over the bus against plain llama.cpp.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use gemmad_testbed::{Bus, Daemon};
use serde::Deserialize;
use tokio::process::Command;

use crate::{ask::ask, figure::Figure, setting::Bench};

/// Number of pairs of runs. In each, both sides first run once without being measured, because the first
/// run reads the file into memory.
const ROUNDS: usize = 6;

/// Length of a prompt in letters, each a token in the shape's vocabulary: a question with some context.
const LETTERS: usize = 240;

/// Length of an answer in tokens: a few sentences.
const TOKENS: u32 = 48;

/// Maximum number of threads of both sides, as gemmad chooses by itself.
const MOST_THREADS: usize = 4;

/// A line of the output of `llama_cpp`.
#[derive(Deserialize)]
struct Run {
    tokens: Vec<i32>,
    prompt_rows: u32,
    prefill_ms: f64,
    decode_ms: f64,
}

/// Rates, in tokens per second.
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
        // The sides go first in turn, so that a machine that slows down favours neither.
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

/// A compared rate, and how each side is timed.
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

/// Figures of the ratios of all pairs of runs, and of both rates.
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

/// A different text for each round, so that no part of it is in the KV cache.
fn prompt(round: usize) -> String {
    let letters = ('a'..='z').cycle().step_by(2 * round + 1);
    letters.take(LETTERS).collect()
}

/// Measures gemmad: prefill from the request to the first text, decode from the first text to the last.
///
/// Each measurement starts and stops its own daemon. A process is up to a tenth faster or slower
/// depending on the pages of memory that its weights get, and of two processes that run side by side
/// each would always keep its pages.
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
    // The question as the shape's template renders it.
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
