//! Memory that gets scarce, and is there again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gemmad::config::{Bounded, Config};
use gemmad::engine::{Engine, EngineError, Event, Pace, Request};
use gemmad::platform::memory::Kernel;
use gemmad_testbed::nano;

use super::{health_becomes, nano, started};

const PACE: Pace = Pace {
    look: Duration::from_millis(20),
    calm: Duration::from_millis(100),
};

/// Has the kernel's files under `root` tell of so much free memory.
fn free(root: &Path, kilobytes: u64) {
    fs::create_dir_all(root.join("proc")).unwrap();
    let new = root.join("new");
    fs::write(&new, format!("MemAvailable: {kilobytes} kB\n")).unwrap();
    fs::rename(new, root.join("proc/meminfo")).unwrap();
}

fn watched(config: &Config, root: &Path) -> Engine {
    free(root, 4_000_000);
    let engine = started(config);
    tokio::spawn(engine.clone().watch_memory(Kernel::at(root), PACE));
    engine
}

async fn ask(engine: &Engine, config: &Config) {
    let question = Request::question(&config.answer, nano::QUESTION.into());
    let answer = engine.submit(question).await.unwrap();
    assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
}

#[tokio::test]
async fn cells_are_given_back_while_memory_is_scarce_and_no_request_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let config = nano();
    let engine = watched(&config, root.path());
    ask(&engine, &config).await;
    let mut long = Request::question(&config.answer, nano::QUESTION.into());
    (long.min_tokens, long.max_tokens) = (300, 300);
    let mut running = engine.submit(long).await.unwrap();
    assert!(matches!(running.next().await, Event::Text(_)));

    free(root.path(), 10_000);
    let mut scarcity = engine.scarcity();
    let why = scarcity.wait_for(Option::is_some).await.unwrap().unwrap();
    assert!(why.to_string().contains("11 MB are free"), "{why}");
    let least = config.engine.least_context.get();
    let (_, stats) = running.text().await.unwrap();
    assert_eq!(stats.output_tokens, 300);
    health_becomes(&engine, |health| health.cells_total == least).await;
    ask(&engine, &config).await;

    free(root.path(), 4_000_000);
    scarcity.wait_for(Option::is_none).await.unwrap();
    let all = config.engine.context.get();
    health_becomes(&engine, |health| health.cells_total == all).await;
    ask(&engine, &config).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_long_question_ends_with_the_reason_when_memory_gets_scarce() {
    let root = tempfile::tempdir().unwrap();
    let mut config = nano();
    config.engine.context = Bounded::new(256).unwrap();
    let engine = watched(&config, root.path());
    let mut endless = Request::question(&config.answer, "tell me about it. ".repeat(200));
    (endless.min_tokens, endless.max_tokens) = (2000, 2000);
    let mut running = engine.submit(endless).await.unwrap();
    assert!(matches!(running.next().await, Event::Text(_)));
    free(root.path(), 10_000);
    let failed = running.text().await.unwrap_err();
    assert!(
        matches!(failed, EngineError::TooLongForMemory { .. }),
        "{failed}"
    );
    health_becomes(&engine, |health| health.is_idle() && health.long_cells == 0).await;
    ask(&engine, &config).await;
    engine.stop().await;
}
