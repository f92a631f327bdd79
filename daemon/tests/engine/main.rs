//! The engine alone: real model, real llama.cpp, real speech, no bus and no sound card.

mod cells;
mod forms;
mod long;
mod replacing;
mod requests;
mod scarcity;
mod sharing;
mod tokens;
mod turns;
mod vocabulary;

use std::path::PathBuf;
use std::time::Instant;

use gemmad::config::{self, Bounded, Config};
use gemmad::engine::{Engine, Health};

/// The nano model, answering greedily.
fn nano() -> Config {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano"));
    let mut config = Config::default();
    config.model.text = folder.join("nano-f16.gguf");
    config.model.mmproj = folder.join("nano-f16.mmproj.gguf");
    config.answer.temperature = config::Temperature::GREEDY;
    config.transcribe.prompt = "Transcribe.".into();
    // The tests run many engines at a time, and the threads of a pool spin while they wait for each other.
    config.engine.threads = Bounded::new(1).unwrap();
    config
}

/// An engine that loads the model of `config`.
fn started(config: &Config) -> Engine {
    let engine = Engine::start(config, None).unwrap();
    engine.load();
    engine
}

/// Waits for the `wanted` health.
async fn health_becomes(engine: &Engine, wanted: impl Fn(&Health) -> bool) -> Health {
    let patience = Instant::now();
    loop {
        let health = engine.health();
        if wanted(&health) {
            return health;
        }
        assert!(patience.elapsed().as_secs() < 10, "still {health:?}");
        tokio::task::yield_now().await;
    }
}
