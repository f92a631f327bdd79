//! Spoken turns, computed while they are being spoken.

use std::time::{Duration, Instant};

use gemmad::config::{Bounded, Config};
use gemmad::engine::{
    Answer, Clip, Engine, EngineError, Event, Finish, Health, Request, Stats, Turn,
};
use gemmad_testbed::{nano, speech};

use super::{health_becomes, nano, started};

/// Samples per push: as many as a sound card delivers at a time.
const PUSH: usize = 512;

fn say(text: &str) -> Vec<f32> {
    speech::say(text, "en-us").unwrap()
}

fn push(turn: &Turn, sound: &[f32]) {
    for piece in sound.chunks(PUSH) {
        turn.push(piece.to_vec());
    }
}

/// The requests for reply and transcript.
fn questions(config: &Config) -> [Request; 2] {
    [
        Request::reply(&config.answer).heard(Instant::now()),
        Request::transcript(&config.transcribe, "English").heard(Instant::now()),
    ]
}

async fn texts(answers: Vec<Answer>) -> Vec<(String, Stats)> {
    let mut texts = Vec::new();
    for answer in answers {
        texts.push(answer.text().await.unwrap());
    }
    texts
}

async fn spoken(engine: &Engine, config: &Config, sound: &[f32]) -> Vec<(String, Stats)> {
    let turn = engine.listen(config.answer.system.as_str()).await.unwrap();
    push(&turn, sound);
    let answers = turn.ask(questions(config)).await.unwrap();
    drop(turn);
    texts(answers).await
}

/// The answers about the same sound as a file, one question after the other.
async fn recorded(engine: &Engine, config: &Config, sound: &[f32]) -> Vec<String> {
    let clip = Clip::new(sound.to_vec()).unwrap();
    let mut texts = Vec::new();
    for question in questions(config) {
        let question = Request {
            preamble: config.answer.system.as_str().into(),
            ..question.about(std::sync::Arc::clone(&clip))
        };
        let answer = engine.submit(question).await.unwrap();
        texts.push(answer.text().await.unwrap().0);
    }
    texts
}

/// Waits until all sound heard is computed, except a rest of less than 480 ms that may not be complete yet.
async fn caught_up(engine: &Engine) -> Health {
    health_becomes(engine, |health| {
        health.backlog < Duration::from_millis(480) && health.turns > 0
    })
    .await
}

#[tokio::test]
async fn what_is_heard_piece_by_piece_is_answered_as_the_whole_clip_is() {
    for system in ["", "Answer briefly. You live in a small house."] {
        let mut config = nano();
        config.answer.system = system.into();
        let engine = started(&config);
        for text in [
            nano::QUESTION,
            "set a timer for ten minutes",
            "what is the meaning of life the universe and everything",
            "stop",
        ] {
            let sound = say(text);
            let whole = recorded(&engine, &config, &sound).await;
            let heard = spoken(&engine, &config, &sound).await;
            let heard: Vec<_> = heard.into_iter().map(|(text, _)| text).collect();
            assert_eq!(heard, whole, "{text:?} after {system:?}");
        }
    }
}

#[tokio::test]
async fn reply_and_transcript_share_one_pass_over_the_sound() {
    let config = nano();
    let engine = started(&config);
    let answers = spoken(&engine, &config, &say(nano::QUESTION)).await;
    let [(_, reply), (_, transcript)] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert!(reply.audio_tokens > 20 && !reply.encode.is_zero());
    assert_eq!(reply.audio_tokens, transcript.audio_tokens);
    assert_eq!(reply.encode, transcript.encode, "encoded twice");
    assert!(reply.sound.is_some_and(|it| it.real_time_factor > 0.0));
    assert!(reply.speech_to_token.is_some());
}

#[tokio::test]
async fn sound_is_in_the_cache_before_anybody_asks() {
    let config = nano();
    let engine = started(&config);
    let turn = engine.listen("").await.unwrap();
    let before = caught_up(&engine).await;
    push(
        &turn,
        &say("what is the meaning of life the universe and everything"),
    );
    let heard = health_becomes(&engine, |health| {
        health.backlog < Duration::from_millis(480) && health.cells_used > before.cells_used + 36
    });
    assert_eq!(heard.await.active, 0);
    let answers = texts(turn.ask(questions(&config)).await.unwrap()).await;
    let backlog = answers[0].1.sound.unwrap().backlog;
    assert!(
        backlog < Duration::from_millis(560),
        "{backlog:?} were left to the end"
    );
}

#[tokio::test]
async fn a_turn_that_was_no_turn_leaves_the_cache_as_it_was() {
    let config = nano();
    let engine = started(&config);
    let sound = say(nano::QUESTION);
    let first = spoken(&engine, &config, &sound).await;
    let idle = health_becomes(&engine, Health::is_idle).await;
    for length in [0, 100, 8000, 40_000] {
        let turn = engine.listen("").await.unwrap();
        push(
            &turn,
            &say("never mind what I said it was nothing at all")[..length],
        );
        drop(turn);
    }
    let after = health_becomes(&engine, Health::is_idle).await;
    assert_eq!(after.cells_used, idle.cells_used);
    let again = spoken(&engine, &config, &sound).await;
    assert_eq!(again[0].0, first[0].0);
    assert_eq!(again[1].0, first[1].0);
}

#[tokio::test]
async fn an_answer_begun_too_early_is_dropped_and_the_turn_goes_on_as_if_nothing_had_been() {
    let config = nano();
    let engine = started(&config);
    let sound = [
        say(nano::QUESTION),
        speech::silence(300),
        say("and turn off the bedroom light"),
    ]
    .concat();
    let whole = recorded(&engine, &config, &sound).await;
    let turn = engine.listen("").await.unwrap();
    let mut begun = Vec::new();
    for piece in sound.chunks(9000) {
        push(&turn, piece);
        // Each request replaces the one before, which may be waiting, in prefill or in decode.
        begun = turn.ask(questions(&config)).await.unwrap();
        if begun.len() % 2 == 0 {
            begun[0].next().await;
        }
    }
    drop(turn);
    drop(begun);
    let turn = engine.listen("").await.unwrap();
    push(&turn, &sound[..30_000]);
    drop(turn.ask(questions(&config)).await.unwrap());
    push(&turn, &sound[30_000..]);
    let answers = texts(turn.ask(questions(&config)).await.unwrap()).await;
    assert_eq!(answers[0].0, whole[0]);
    assert_eq!(answers[1].0, whole[1]);
    drop(turn);
    let idle = health_becomes(&engine, Health::is_idle).await;
    assert_eq!(idle.cells_used, idle.prefix_cells);
}

#[tokio::test]
async fn the_answer_is_there_when_the_end_is_confirmed() {
    let config = nano();
    let engine = started(&config);
    let turn = engine.listen("").await.unwrap();
    push(&turn, &say(nano::QUESTION));
    let mut answers = turn.ask(questions(&config)).await.unwrap();
    // The speaker may continue; the answer does not wait for the end of the turn.
    assert!(matches!(answers[0].next().await, Event::Text(_)));
    drop(turn);
    let (_, stats) = answers.remove(0).text().await.unwrap();
    assert!(stats.output_tokens > 0);
}

#[tokio::test]
async fn speech_of_more_than_thirty_seconds_goes_on_in_another_span() {
    let mut config = nano();
    config.engine.context = Bounded::new(8192).unwrap();
    let engine = started(&config);
    let sentence = [say(nano::QUESTION), speech::silence(500)].concat();
    let sound = sentence.repeat(32 * 16_000 / sentence.len() + 1);
    let answers = spoken(&engine, &config, &sound).await;
    let rows = u32::try_from(sound.len() / 640).unwrap();
    let stats = &answers[0].1;
    // Each span may end with an incomplete row.
    assert!(
        (rows..=rows + 2).contains(&stats.audio_tokens),
        "{} rows of {rows}",
        stats.audio_tokens
    );
    assert_eq!(stats.finish, Finish::Stop);
}

#[tokio::test]
async fn a_turn_longer_than_the_context_fails_by_name_and_the_next_is_answered() {
    let mut config = nano();
    config.engine.context = Bounded::new(256).unwrap();
    let engine = started(&config);
    let sentence = say(nano::QUESTION);
    let turn = engine.listen("").await.unwrap();
    push(&turn, &sentence.repeat(10));
    let answers = turn.ask(questions(&config)).await.unwrap();
    drop(turn);
    for answer in answers {
        let failed = answer.text().await.unwrap_err();
        assert!(
            matches!(failed, EngineError::PromptTooLong { capacity: 256, .. }),
            "{failed}"
        );
    }
    let answers = spoken(&engine, &config, &sentence).await;
    assert!(!answers[0].0.is_empty());
}

#[tokio::test]
async fn two_turns_may_be_under_way_and_a_third_is_busy_until_one_ends() {
    let config = nano();
    let engine = started(&config);
    let first = engine.listen("").await.unwrap();
    let _second = engine.listen("").await.unwrap();
    let refused = engine.listen("").await.unwrap_err();
    assert!(
        matches!(refused, EngineError::Listening { .. }),
        "{refused}"
    );
    health_becomes(&engine, |health| health.turns == 2).await;
    drop(first);
    health_becomes(&engine, |health| health.turns == 1).await;
    assert!(engine.listen("").await.is_ok());
}
