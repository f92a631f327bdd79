//! The rows of a conversation that are read again.

use anyhow::{Context, Result};
use gemmad_testbed::Model;
use serde::Deserialize;
use tokio::process::Command;

use crate::{figure::Figure, setting::Bench};

/// The output of `conversation`.
#[derive(Deserialize)]
struct Shares {
    first: f64,
    again: f64,
}

/// Measures `ask_next_prefill` and `ask_repeat_prefill`.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
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
