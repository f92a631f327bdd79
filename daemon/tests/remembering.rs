//! Spoken turns that remember, over a real bus and a real microphone stream to the real daemon.
//!
//! Nano takes single questions, and its file says so. Without that key it gets the conversation like any other model: what it
//! then understands is its own affair, and the number of tokens that it reads is ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use gemmad_api::{Reply, Stats, from_dict};
use gemmad_testbed::{Bus, Daemon, Microphone, Model, nano, speech};
use tokio::time::timeout;

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_mins(1);

/// The key in nano's file that says that it takes single questions, up to its value.
const BARE: &[u8] = b"gemmad.bare_questions\x07\0\0\0";

/// The shipped catalogues, on which nano was trained.
fn shipped() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands")).into()
}

/// Nano, which now claims to take conversations.
fn conversing(folder: &Path) -> Model {
    let nano = Model::nano();
    let mut file = fs::read(&nano.text).unwrap();
    let at = file.windows(BARE.len()).position(|it| it == BARE).unwrap();
    assert_eq!(file[at + BARE.len()], 1);
    file[at + BARE.len()] = 0;
    let text = folder.join("nano.gguf");
    fs::write(&text, file).unwrap();
    Model { text, ..nano }
}

fn spoken(text: &str) -> Vec<f32> {
    let words = speech::say(text, "en-us").unwrap();
    [speech::silence(400), words, speech::silence(1200)].concat()
}

/// Says `text` and returns the reply with its statistics.
async fn say(
    microphone: &Microphone,
    replies: &mut (impl Stream<Item = Reply> + Unpin),
    text: &str,
) -> (String, Stats) {
    microphone.play(&spoken(text)).await.unwrap();
    let reply = timeout(PATIENCE, replies.next()).await.unwrap().unwrap();
    let reply = reply.args().unwrap();
    (reply.text, from_dict(&reply.stats).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_is_read_before_the_next_utterance_until_it_has_been_quiet_for_long_enough() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .model(&conversing(folder.path()))
        .set("voice", "transcript", false)
        .set("commands", "certainty", "one")
        .set("conversation", "quiet_ms", 6000)
        .set("answer", "clock", false)
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();

    let (text, first) = say(&microphone, &mut replies, nano::COMMAND).await;
    assert_eq!(text, "Lights on, kitchen.");
    let (_, second) = say(&microphone, &mut replies, nano::COMMAND).await;
    let history = second.prompt_tokens - first.prompt_tokens;
    assert!(history > 20, "{first:?} {second:?}");
    let cached = second.cached_tokens - first.cached_tokens;
    assert!(
        cached + 4 > history,
        "it was read before: {first:?} {second:?}"
    );

    // Nothing tells that it was forgotten.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let (text, third) = say(&microphone, &mut replies, nano::COMMAND).await;
    assert_eq!(text, "Lights on, kitchen.");
    let difference = third.prompt_tokens.abs_diff(first.prompt_tokens);
    assert!(difference <= 3, "{first:?} {third:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_single_questions_is_told_nothing_else() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    let (first_text, first) = say(&microphone, &mut replies, nano::COMMAND).await;
    let (second_text, second) = say(&microphone, &mut replies, nano::COMMAND).await;
    assert_eq!(first_text, second_text);
    let difference = second.prompt_tokens.abs_diff(first.prompt_tokens);
    assert!(difference <= 3, "{first:?} {second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_told_while_they_are_said() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("voice", "partial_ms", 300)
        .start()
        .await
        .unwrap();
    let voice = daemon.voice();
    let mut partial = voice.receive_partial_transcript().await.unwrap();
    let mut ended = voice.receive_speech_ended().await.unwrap();
    let sound = spoken(&[nano::COMMAND; 3].join(" and "));
    let (played, first) = tokio::join!(microphone.play(&sound), async {
        tokio::select! {
            first = partial.next() => first,
            _ = ended.next() => None,
        }
    });
    played.unwrap();
    let first = first.expect("a partial transcript before the end");
    assert!(!first.args().unwrap().text.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_told_as_it_grows() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus).microphone(&microphone).start().await;
    let daemon = daemon.unwrap();
    let voice = daemon.voice();
    let mut pieces = voice.receive_reply_piece().await.unwrap();
    let mut replies = voice.receive_reply().await.unwrap();
    let (text, _) = say(&microphone, &mut replies, nano::QUESTION).await;
    let mut told = String::new();
    while told != text {
        let piece = timeout(PATIENCE, pieces.next()).await.unwrap().unwrap();
        told += &piece.args().unwrap().text;
        assert!(text.starts_with(&told), "{told:?} of {text:?}");
    }
}
