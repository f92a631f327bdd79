//! The engine on its own: real model, real llama.cpp, no bus and no sound card.

use std::path::PathBuf;
use std::time::Duration;

use gemmad::config::{self, Config};
use gemmad::engine::{Engine, EngineError, Event, Phase, Request};

fn nano() -> Config {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano"));
    let mut config = Config::default();
    config.model.text = folder.join("nano-f16.gguf");
    config.model.mmproj = folder.join("nano-f16.mmproj.gguf");
    config.answer.temperature = config::Temperature::GREEDY;
    config.transcribe.prompt = "Transcribe.".into();
    config
}

fn started(config: &Config) -> Engine {
    let engine = Engine::start(config).unwrap();
    engine.load();
    engine
}

fn ask(config: &Config, text: &str) -> Request {
    Request::question(&config.answer, text.into())
}

#[tokio::test]
async fn a_question_is_answered() {
    let config = nano();
    let engine = started(&config);
    let answer = engine.submit(ask(&config, "turn on the kitchen light")).await.unwrap();
    let (text, stats) = answer.text().await.unwrap();
    println!("{text} {stats:?}");
    assert_eq!(text, r#"{"tool":"light","room":"kitchen","state":"on"}"#);
}
