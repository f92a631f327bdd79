//! Conversations: the rows that are read again, and the first token of a late turn.

use anyhow::{Context, Result, ensure};
use gemmad_testbed::{Bus, Daemon, Model};
use serde::Deserialize;
use tokio::process::Command;

use crate::{ask, figure::Figure, setting::Bench, turn};

/// The output of `conversation`.
#[derive(Deserialize)]
struct Shares {
    first: f64,
    again: f64,
}

/// Turns of a conversation, conversations, and tokens of an answer.
const TURNS: usize = 10;
const CONVERSATIONS: usize = 5;
const TOKENS: u32 = 32;

/// Questions and answers that have 2,000 tokens together.
const EXCHANGES: u32 = 18;

/// Measures the rows that are read again, and how long the first token of the last turn takes.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let late = vec![last_turn(bench).await?, spoken_turn(bench).await?];
    Ok([rows(bench).await?, late].concat())
}

/// Measures a spoken turn after a long conversation beside one without any.
async fn spoken_turn(bench: &Bench) -> Result<Figure> {
    let without = turn::after_history(bench, 0).await?;
    let with = turn::after_history(bench, EXCHANGES).await?;
    let cached = with.iter().map(|(_, cached)| *cached).min();
    ensure!(
        cached >= Some(2000),
        "only {cached:?} tokens were said before"
    );
    let pairs = with.iter().zip(&without);
    let ratios = pairs.map(|((with, _), (without, _))| with / without);
    let name = "speech_to_token_with_history";
    Ok(Figure::new(name, "", ratios.collect(), &bench.shape)?
        .goal("≤ 1.1")
        .meaning(
            "From the last sample of speech to the first token after 2,000 tokens of earlier turns, over the same after \
             none. What was said is in the cache before the turn begins.",
        ))
}

/// Measures the first token of turn 10 beside that of turn 1, each after the daemon had time to read ahead.
async fn last_turn(bench: &Bench) -> Result<Figure> {
    let bus = Bus::start().await?;
    let setup = Daemon::setup(&bus).binaries(bench.binaries.clone());
    let daemon = setup.model(&bench.shape).start().await?;
    // Reads the file into memory.
    ask::ask(&daemon, "Begin.", 4).await?;
    let mut ratios = Vec::new();
    for conversation in 0..CONVERSATIONS {
        let name = conversation.to_string();
        let mut first = Vec::new();
        for turn in 0..TURNS {
            let asked = format!("Tell me the next part, which is number {turn}.");
            let answer = ask::ask_in(&daemon, Some(&name), &asked, TOKENS).await?;
            first.push(answer.first.as_secs_f64());
            ask::rest(&daemon).await?;
        }
        ratios.push(first[TURNS - 1] / first[0]);
    }
    daemon.stop().await?;
    Ok(Figure::new("ttft_turn10_ratio", "", ratios, &bench.shape)?
        .goal("≤ 1.2")
        .meaning(
            "First token of the tenth question in a conversation, over that of the first. Before each the daemon had time to \
             read what was said",
        ))
}

/// Measures `ask_next_prefill` and `ask_repeat_prefill`.
async fn rows(bench: &Bench) -> Result<Vec<Figure>> {
    let model = Model::nano();
    let mut command = Command::new(bench.llama_cpp.with_file_name("conversation"));
    command.arg("--text").arg(&model.text);
    let output = command.output().await?;
    let shares: Shares = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(vec![
        Figure::new("ask_next_prefill", "", vec![shares.first], &model)?.meaning(
            "Share of prompt rows that are computed in a conversation of ten turns, each sent with all messages before it",
        ),
        Figure::new("ask_repeat_prefill", "", vec![shares.again], &model)?
            .meaning("The same when the same conversation is sent a second time")
            .goal("≤ 0.15"),
    ])
}
