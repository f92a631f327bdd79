//! Leads calls of commands through their grammar, over the vocabulary of a model, which writes nothing itself. Prints
//! the number of tokens that a model has to draw and of those that the grammar forces, and how
//! long the grammar took for each token that is drawn:
//!
//! ```json
//! {"drawn":7,"forced":11,"step_ms":[0.01]}
//! ```

use std::path::PathBuf;

use clap::Parser;
use gemmad::commands::Catalogue;
use gemmad::config::Config;
use gemmad::engine::{Engine, Form, Rehearsal};
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Args {
    /// The text model.
    #[arg(long)]
    text: PathBuf,
    /// The folder of the catalogues.
    #[arg(long)]
    catalogues: PathBuf,
    /// The calls: lines of JSON, each of which has one answer as `expected`. Those that are no calls are left out.
    #[arg(long)]
    expected: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut config = Config::default();
    config.model.text = args.text;
    config.model.mmproj = PathBuf::new();
    let engine = Engine::start(&config, None)?;
    engine.load();
    let grammar = Catalogue::load(&[args.catalogues])?.grammar();
    let form = Form::Lark(grammar.into());
    let mut rehearsed = Vec::new();
    for call in calls(&std::fs::read_to_string(&args.expected)?)? {
        rehearsed.push(engine.rehearse(form.clone(), call).await?);
    }
    let sum = |of: fn(&Rehearsal) -> u32| rehearsed.iter().map(of).sum::<u32>();
    let (drawn, forced) = (sum(|it| it.drawn), sum(|it| it.forced));
    let steps = rehearsed.iter().flat_map(|it| &it.steps);
    let step_ms: Vec<_> = steps.map(|it| it.as_secs_f64() * 1000.0).collect();
    println!(
        "{}",
        json!({"drawn": drawn, "forced": forced, "step_ms": step_ms})
    );
    engine.stop().await;
    Ok(())
}

/// The answers that call something.
fn calls(lines: &str) -> anyhow::Result<Vec<String>> {
    let mut calls = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        let expected = line["expected"].as_str().unwrap_or_default();
        if expected.starts_with("<|tool_call>") {
            calls.push(expected.to_owned());
        }
    }
    Ok(calls)
}
