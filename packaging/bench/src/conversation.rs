//! Conversations: the rows that are read again, and the first token of a late turn.

use anyhow::{Context, Result};
use gemmad_testbed::{Bus, Daemon, Model};
use serde::Deserialize;
use tokio::process::Command;

use crate::{ask, figure::Figure, setting::Bench};

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

/// Measures the rows that are read again, and how long the first token of the last turn takes.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    Ok([rows(bench).await?, vec![last_turn(bench).await?]].concat())
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
