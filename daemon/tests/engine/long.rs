//! Questions that do not fit into the shared cells.

use gemmad::config::{Bounded, Config, LongCache};
use gemmad::engine::{EngineError, Event, Finish, Request};
use gemmad_testbed::nano;

use super::{health_becomes, nano, started};

/// An engine whose shared cells hold 256 tokens.
fn small() -> Config {
    let mut config = nano();
    config.engine.context = Bounded::new(256).unwrap();
    config
}

/// A question of some thousand tokens.
fn long(config: &Config) -> Request {
    Request::question(&config.answer, "tell me about it. ".repeat(200))
}

#[tokio::test]
async fn a_long_question_is_answered_as_if_the_shared_cells_held_it() {
    let mut long = long(&nano());
    (long.min_tokens, long.max_tokens) = (40, 40);
    let mut answers = Vec::new();
    for config in [nano(), small()] {
        let engine = started(&config);
        let answer = engine.submit(long.clone()).await.unwrap();
        let (text, stats) = answer.text().await.unwrap();
        assert!(stats.prompt_tokens > 800, "{stats:?}");
        assert_eq!((stats.output_tokens, stats.finish), (40, Finish::Length));
        answers.push(text);
        health_becomes(&engine, |health| health.is_idle() && health.long_cells == 0).await;
        engine.stop().await;
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn other_questions_take_turns_with_a_long_one_and_its_end_gives_everything_back() {
    let config = small();
    let engine = started(&config);
    let mut endless = long(&config);
    (endless.min_tokens, endless.max_tokens) = (2000, 2000);
    let mut running = engine.submit(endless.clone()).await.unwrap();
    let waiting = engine.submit(endless).await.unwrap();
    assert!(matches!(running.next().await, Event::Text(_)));
    let health = health_becomes(&engine, |health| health.long_cells > 2800).await;
    assert_eq!((health.active, health.queued), (1, 1));
    let question = Request::question(&config.answer, nano::QUESTION.into());
    let answer = engine.submit(question).await.unwrap();
    assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
    assert!(
        engine.health().long_cells > 0,
        "the long one has ended first"
    );
    drop(running);
    drop(waiting);
    health_becomes(&engine, |health| health.is_idle() && health.long_cells == 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_long_question_may_hold_its_context_in_half_the_memory() {
    let mut config = small();
    config.engine.long_cache = LongCache::Q8;
    let engine = started(&config);
    let mut long = long(&config);
    (long.min_tokens, long.max_tokens) = (40, 40);
    let (_, stats) = engine.submit(long).await.unwrap().text().await.unwrap();
    assert_eq!((stats.output_tokens, stats.finish), (40, Finish::Length));
    // The shared cells stay as they are, and so do answers from them.
    let question = Request::question(&config.answer, nano::QUESTION.into());
    let answer = engine.submit(question).await.unwrap();
    assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
    engine.stop().await;
}

#[tokio::test]
async fn a_question_longer_than_the_longest_is_refused_with_the_limit() {
    let mut config = small();
    config.engine.longest_question = Bounded::new(800).unwrap();
    let engine = started(&config);
    let refused = engine.submit(long(&config)).await.unwrap_err();
    assert!(
        matches!(refused, EngineError::PromptTooLong { capacity: 800, .. }),
        "{refused}"
    );
    engine.stop().await;
}
