//! Measures how much of a conversation is read again: ten turns, each asked with all messages before it, and then the
//! same ten once more. Prints the share of prompt rows that were computed, each time:
//!
//! ```json
//! {"first":0.3,"again":0.01}
//! ```

use std::path::PathBuf;

use clap::Parser;
use gemmad::config::{Bounded, Config, Temperature};
use gemmad::engine::{Engine, Message, Request, Stats};
use gemmad_testbed::nano;
use serde_json::json;

#[derive(Debug, Parser)]
struct Args {
    /// The text model.
    #[arg(long)]
    text: PathBuf,
    /// Maximum number of tokens of each answer.
    #[arg(long, default_value_t = 60)]
    max_tokens: u32,
    /// Threads of the engine.
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut config = Config::default();
    config.model.text.clone_from(&args.text);
    config.model.mmproj = PathBuf::new();
    config.engine.threads = Bounded::new(args.threads).unwrap_or(config.engine.threads);
    config.answer.temperature = Temperature::GREEDY;
    let engine = Engine::start(&config, None)?;
    engine.load();
    let first = converse(&engine, &config, args.max_tokens).await?;
    let again = converse(&engine, &config, args.max_tokens).await?;
    println!("{}", json!({"first": first, "again": again}));
    engine.stop().await;
    Ok(())
}

/// Has the conversation; returns the share of prompt rows that were computed.
async fn converse(engine: &Engine, config: &Config, max_tokens: u32) -> anyhow::Result<f64> {
    let mut history = Vec::new();
    let mut all = Vec::new();
    for said in nano::SAID {
        let mut request = Request::question(&config.answer, said.into());
        request.preamble.history.clone_from(&history);
        request.owner = Some("person".into());
        request.max_tokens = max_tokens;
        let (text, stats) = engine.submit(request).await?.text().await?;
        history.push(Message::User(said.into()));
        history.push(Message::assistant(text));
        all.push(stats);
    }
    let rows = |of: fn(&Stats) -> u32| f64::from(all.iter().map(of).sum::<u32>());
    Ok(rows(|it| it.prompt_tokens - it.cached_tokens) / rows(|it| it.prompt_tokens))
}
