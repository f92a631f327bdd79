//! Shares of the KV cache's cells, and which requests wait for cells.

use std::fmt::Write;

use gemmad::config::{Bounded, Config};
use gemmad::engine::{Engine, Event, Finish, Kept, Phase, Preamble, Request};
use gemmad_testbed::{nano, speech};

use super::{health_becomes, nano, started};

/// A question whose answer is as long as there are cells.
fn endless(config: &Config) -> Request {
    let mut request = Request::question(&config.answer, "tell me everything".into());
    request.max_tokens = 1_000_000;
    request.min_tokens = 1_000_000;
    request
}

fn with_context(cells: u32) -> Config {
    let mut config = nano();
    config.engine.context = Bounded::new(cells).unwrap();
    config
}

async fn ready(engine: &Engine) {
    let mut phase = engine.phase();
    let ready = phase.wait_for(|phase| matches!(phase, Phase::Ready(_)));
    ready.await.unwrap();
}

/// A system prompt of about `tokens` tokens.
fn long_system(tokens: usize) -> String {
    let mut text = String::new();
    for room in 0..tokens / 9 {
        // Each line has nine tokens or more.
        writeln!(text, "You know of room number {room}.").unwrap();
    }
    text
}

#[tokio::test]
async fn a_question_waits_for_the_prefix_it_begins_with_instead_of_being_refused() {
    let config = with_context(2048);
    let engine = started(&config);
    ready(&engine).await;
    // The prefix takes more than half of the cells for questions.
    let preamble = Preamble::from(long_system(1000).as_str());
    engine.keep(Kept::Commands, Some(&preamble));
    let question = Request {
        preamble,
        ..Request::question(&config.answer, nano::QUESTION.into())
    };
    let (mut answers, mut cached) = (Vec::new(), 0);
    // The first answer may come before the prefix is known, the last while it is prefilled or after that.
    while cached < 900 {
        let answer = engine.submit(question.clone()).await.unwrap();
        let (text, stats) = answer.text().await.unwrap();
        cached = stats.cached_tokens;
        answers.push(text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn speech_waits_for_the_prefix_it_begins_with_instead_of_being_given_up() {
    let config = with_context(2048);
    let engine = started(&config);
    ready(&engine).await;
    // The prefix does not fit twice.
    let system = long_system(1000);
    let preamble = Preamble::from(system.as_str());
    engine.keep(Kept::Commands, Some(&preamble));
    health_becomes(&engine, |health| health.prefix_cells > 1000).await;
    let turn = engine.listen(preamble).await.unwrap();
    turn.push(speech::say(nano::QUESTION, "en-us").unwrap());
    let answers = turn.ask([Request::reply(&config.answer)]).await.unwrap();
    for answer in answers {
        let (text, stats) = answer.text().await.unwrap();
        assert!(!text.is_empty() && stats.cached_tokens > 1000, "{stats:?}");
    }
}

#[tokio::test]
async fn a_preamble_that_is_to_be_kept_while_the_model_loads_is_kept_and_the_last_one_counts() {
    let config = with_context(2048);
    let engine = Engine::start(&config, None).unwrap();
    let preambles = ["one", "two", "three"].map(|name| {
        let system = format!("{name}\n{}", long_system(300));
        Preamble::from(system.as_str())
    });
    for preamble in &preambles {
        engine.keep(Kept::Answers, Some(preamble));
    }
    engine.load();
    let [.., last] = preambles;
    let question = Request {
        preamble: last,
        ..Request::question(&config.answer, nano::QUESTION.into())
    };
    let mut cached = 0;
    while cached < 200 {
        let answer = engine.submit(question.clone()).await.unwrap();
        cached = answer.text().await.unwrap().1.cached_tokens;
    }
}

#[tokio::test]
async fn a_long_answer_leaves_the_next_question_its_share() {
    let mut config = with_context(4096);
    config.engine.parallel = Bounded::new(2).unwrap();
    let engine = started(&config);
    let mut long = engine.submit(endless(&config)).await.unwrap();
    assert!(matches!(long.next().await, Event::Text(_)));
    let short = Request::question(&config.answer, nano::QUESTION.into());
    let answer = engine.submit(short).await.unwrap();
    assert_eq!(answer.text().await.unwrap().0, nano::ANSWER);
    // It did not wait for the first question, which is still being answered.
    health_becomes(&engine, |health| health.active == 1).await;
    assert!(matches!(long.next().await, Event::Text(_)));
}

#[tokio::test]
async fn endless_answers_each_get_a_share_and_one_alone_gets_everything() {
    let mut config = with_context(1024);
    config.engine.parallel = Bounded::new(3).unwrap();
    let engine = started(&config);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(engine.submit(endless(&config)).await.unwrap());
    }
    // A quarter of the 1024 cells is reserved for speech.
    let (all, mut tokens) = (768, Vec::new());
    for answer in answers {
        let stats = answer.text().await.unwrap().1;
        assert_eq!(stats.finish, Finish::Length);
        tokens.push(stats.prompt_tokens - stats.cached_tokens + stats.output_tokens);
    }
    let share = (all - engine.health().prefix_cells) / 3;
    assert!(
        tokens.iter().all(|tokens| *tokens >= share),
        "{tokens:?} of {share}"
    );
    let alone = engine.submit(endless(&config)).await.unwrap();
    let stats = alone.text().await.unwrap().1;
    assert_eq!(stats.prompt_tokens + stats.output_tokens, all);
    health_becomes(&engine, |it| it.cells_used == it.prefix_cells).await;
}

#[tokio::test]
async fn speech_that_waits_for_cells_beside_as_many_answers_as_fit_into_a_batch_stops_nobody() {
    let mut config = with_context(4096);
    config.engine.batch = Bounded::new(16).unwrap();
    config.engine.parallel = Bounded::new(16).unwrap();
    let engine = started(&config);
    ready(&engine).await;
    let mut questions = Vec::new();
    for _ in 0..16 {
        let mut request = endless(&config);
        // Each stays within its share, so that none is ended for speech.
        request.max_tokens = 170;
        questions.push(engine.submit(request).await.unwrap());
    }
    health_becomes(&engine, |health| health.active == 16).await;
    let turn = engine.listen("").await.unwrap();
    let sound = speech::say(nano::QUESTION, "en-us").unwrap();
    turn.push(sound.clone());
    let mut reply = Request::reply(&config.answer);
    (reply.max_tokens, reply.min_tokens) = (150, 150);
    let mut spoken = turn.ask([reply.clone(), reply]).await.unwrap();
    assert!(matches!(spoken[0].next().await, Event::Text(_)));
    // More sound than there are cells for beside those answers.
    turn.push(sound.repeat(4096 * 640 / sound.len()));
    for answer in questions.into_iter().chain(spoken) {
        let stats = answer.text().await.unwrap().1;
        assert!(stats.output_tokens >= 149, "{stats:?}");
    }
    assert!(engine.beat().await);
    // Else it would still compute while the process ends.
    engine.stop().await;
}
