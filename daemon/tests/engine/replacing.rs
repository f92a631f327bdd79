//! A model that goes: another is loaded, or its memory is given back. No request is lost.

use std::path::PathBuf;

use gemmad::config::{Bounded, Config, Follow};
use gemmad::engine::{Engine, EngineError, Event, Phase, Request};
use gemmad_testbed::{nano, speech};

use super::{health_becomes, nano, started};

/// The nano model without its projector.
fn deaf() -> Config {
    let mut config = nano();
    config.model.mmproj = PathBuf::new();
    config
}

fn question(config: &Config) -> Request {
    Request::question(&config.answer, nano::QUESTION.into())
}

async fn becomes(engine: &Engine, is_wanted: impl FnMut(&Phase) -> bool) {
    engine.phase().wait_for(is_wanted).await.unwrap();
}

#[tokio::test]
async fn what_was_asked_before_a_model_is_replaced_is_answered_and_what_is_asked_then_waits() {
    let (hearing, deaf) = (nano(), deaf());
    let engine = started(&hearing);
    let mut long = question(&hearing);
    (long.min_tokens, long.max_tokens) = (300, 300);
    let mut running = engine.submit(long.clone()).await.unwrap();
    assert!(matches!(running.next().await, Event::Text(_)));
    let waiting = [0; 3].map(|_| engine.submit(long.clone()));
    let mut answers = Vec::new();
    for waiting in waiting {
        answers.push(waiting.await.unwrap());
    }
    engine.follow(&hearing, &deaf);
    let after = engine.submit(question(&deaf)).await.unwrap();
    // The model that was asked has answered before another is there.
    assert_eq!(running.text().await.unwrap().1.output_tokens, 300);
    for answer in answers {
        assert_eq!(answer.text().await.unwrap().1.output_tokens, 300);
    }
    let (text, _) = after.text().await.unwrap();
    assert_eq!(text, nano::ANSWER);
    let refused = engine.listen("").await.unwrap_err();
    assert!(matches!(refused, EngineError::Deaf(_)), "{refused}");
    engine.stop().await;
}

#[tokio::test]
async fn a_model_stays_as_long_as_somebody_speaks_to_it() {
    let (hearing, deaf) = (nano(), deaf());
    let engine = started(&hearing);
    let turn = engine.listen("").await.unwrap();
    engine.follow(&hearing, &deaf);
    becomes(&engine, |phase| matches!(phase, Phase::Loading(_))).await;
    turn.push(speech::say(nano::QUESTION, "en-us").unwrap());
    let answers = turn.ask([Request::reply(&hearing.answer)]).await.unwrap();
    for answer in answers {
        assert!(!answer.text().await.unwrap().0.is_empty());
    }
    drop(turn);
    becomes(
        &engine,
        |phase| matches!(phase, Phase::Ready(it) if !it.hears()),
    )
    .await;
    engine.stop().await;
}

#[tokio::test]
async fn the_next_request_loads_a_model_that_was_unloaded() {
    let config = nano();
    let engine = started(&config);
    for _ in 0..3 {
        let answer = engine.submit(question(&config)).await.unwrap();
        assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
        engine.unload().await.unwrap();
        assert!(matches!(&*engine.phase().borrow(), Phase::Unloaded));
        assert!(engine.beat().await, "it gives no sign of life");
    }
    // Who unloads is not left waiting by who loads.
    let (unloading, ()) = tokio::join!(engine.unload(), async { engine.load() });
    unloading.unwrap();
    // Nothing changes by doing it twice, and the last word counts.
    engine.unload().await.unwrap();
    engine.load();
    becomes(&engine, |phase| matches!(phase, Phase::Ready(_))).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_model_that_nobody_uses_is_unloaded_if_configured() {
    let mut config = nano();
    config.engine.unload_after_s = Bounded::new(1).unwrap();
    let engine = started(&config);
    becomes(&engine, |phase| matches!(phase, Phase::Ready(_))).await;
    // Signs of life are no use of it.
    let beating = async {
        while engine.beat().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = beating => unreachable!("it does not end"),
        () = becomes(&engine, |phase| matches!(phase, Phase::Unloaded)) => {}
    }
    let answer = engine.submit(question(&config)).await.unwrap();
    assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
    engine.stop().await;
}

#[tokio::test]
async fn system_prompts_are_kept_by_every_model() {
    let (hearing, deaf) = (nano(), deaf());
    let engine = started(&hearing);
    let mut config = hearing.clone();
    config.answer.system =
        "You are a lighthouse on a very small island in the north of Norway.".into();
    engine.follow(&hearing, &config);
    health_becomes(&engine, |health| health.prefix_cells > 12).await;
    let kept = engine.health().prefix_cells;
    config.model = deaf.model.clone();
    let before = Config {
        model: hearing.model.clone(),
        ..config.clone()
    };
    engine.follow(&before, &config);
    becomes(&engine, |phase| matches!(phase, Phase::Loading(_))).await;
    becomes(&engine, |phase| matches!(phase, Phase::Ready(_))).await;
    health_becomes(&engine, |health| health.prefix_cells == kept).await;
    let answer = engine.submit(Request::question(&config.answer, nano::QUESTION.into()));
    let (_, stats) = answer.await.unwrap().text().await.unwrap();
    assert!(stats.cached_tokens + 1 >= kept, "{stats:?}");
    engine.stop().await;
}

#[tokio::test]
async fn other_files_under_the_same_names_are_loaded_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let original = nano();
    let mut config = original.clone();
    config.model.text = folder.path().join("text.gguf");
    config.model.mmproj = folder.path().join("mmproj.gguf");
    for (from, to) in [
        (&original.model.text, &config.model.text),
        (&original.model.mmproj, &config.model.mmproj),
    ] {
        std::fs::copy(from, to).unwrap();
    }
    let engine = started(&config);
    let phase = engine.phase();
    becomes(&engine, |phase| matches!(phase, Phase::Ready(_))).await;
    assert!(!engine.has_new_files());
    engine.follow(&config, &config);
    engine.load_newest();
    assert!(engine.beat().await);
    assert!(!phase.has_changed().unwrap() || matches!(&*phase.borrow(), Phase::Ready(_)));

    let new = folder.path().join("new");
    std::fs::copy(&original.model.text, &new).unwrap();
    std::fs::rename(&new, &config.model.text).unwrap();
    assert!(engine.has_new_files());
    engine.load_newest();
    becomes(&engine, |phase| matches!(phase, Phase::Loading(_))).await;
    becomes(&engine, |phase| matches!(phase, Phase::Ready(_))).await;
    assert!(!engine.has_new_files());
    let answer = engine.submit(question(&config)).await.unwrap();
    assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
    engine.stop().await;
}
