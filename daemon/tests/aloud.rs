//! Speech through the loudspeaker: synthesised by espeak-ng, played through cpal by the real daemon, recorded from a
//! virtual loudspeaker, and transcribed.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gemmad_api::{Error, SayOptions, TranscribeOptions, VoiceState};
use gemmad_testbed::{Bus, Daemon, LOUDSPEAKER_RATE, Loudspeaker, Microphone, nano, speech};
use tokio::time::timeout;

/// Silence that means the end of speech: longer than the pause for which the assistant listens for barge-in.
const SILENCE: Duration = Duration::from_secs(1);

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_mins(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took too long")
}

/// The nano model's transcript of the loudspeaker's sound from the sample `since` on.
async fn understood(daemon: &Daemon, loudspeaker: &Loudspeaker, since: usize) -> String {
    let mut heard = loudspeaker.heard(since).unwrap();
    heard.extend(speech::silence(300));
    let file = tempfile::NamedTempFile::with_suffix(".wav").unwrap();
    speech::write_wav(file.path(), &heard).unwrap();
    let file = std::fs::File::open(file.path()).unwrap();
    let options = TranscribeOptions::default();
    let transcribed = daemon.manager().transcribe((&file).into(), options).await;
    transcribed.unwrap().0
}

/// A spoken command, with silence before it, and enough after it to end the utterance.
fn command() -> Vec<f32> {
    let mut sound = speech::silence(400);
    sound.extend(speech::say(nano::QUESTION, "en-us").unwrap());
    sound.extend(speech::silence(1200));
    sound
}

#[tokio::test(flavor = "multi_thread")]
async fn say_speaks_what_it_is_given_and_returns_when_it_was_heard() {
    let bus = Bus::start().await.unwrap();
    let loudspeaker = Loudspeaker::alsa().unwrap();
    let setup = Daemon::setup(&bus).loudspeaker(&loudspeaker);
    let daemon = setup.start().await.unwrap();
    let voice = daemon.voice();
    let text = format!("- **{}**", nano::QUESTION);
    within(voice.say(&text, SayOptions::default()))
        .await
        .unwrap();
    let end = loudspeaker.now();
    let begin = within(loudspeaker.sounds(0)).await;
    // `Say` returns when the text has been played, give or take the buffer of the virtual device.
    let silent = within(loudspeaker.is_silent(begin, SILENCE)).await;
    assert!(
        silent < end + LOUDSPEAKER_RATE as usize / 5,
        "{silent} {end}"
    );
    assert_eq!(understood(&daemon, &loudspeaker, 0).await, nano::TRANSCRIPT);
    daemon.until_voice_is(VoiceState::Off).await.unwrap();
    assert!(!voice.loudspeaker().await.unwrap().is_empty());
    assert_eq!(voice.speech_problem().await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_silences_what_is_being_said_and_what_was_to_follow() {
    let bus = Bus::start().await.unwrap();
    let loudspeaker = Loudspeaker::alsa().unwrap();
    let setup = Daemon::setup(&bus).loudspeaker(&loudspeaker);
    let daemon = setup.start().await.unwrap();
    let voice = daemon.voice();
    let long = "One two three four five six seven eight nine ten. ".repeat(4);
    let say = || voice.say(&long, SayOptions::default());
    let (first, second, ()) = tokio::join!(say(), say(), async {
        within(loudspeaker.sounds(0)).await;
        assert_eq!(voice.state().await.unwrap(), VoiceState::Speaking);
        let stopped = loudspeaker.now();
        voice.stop().await.unwrap();
        let silent = within(loudspeaker.is_silent(0, SILENCE)).await;
        let late = silent.saturating_sub(stopped) * 1000 / LOUDSPEAKER_RATE as usize;
        assert!(late < 500, "silent {late} ms later");
    });
    for said in [first, second] {
        assert!(matches!(said, Err(Error::Cancelled(_))), "{said:?}");
    }
    daemon.until_voice_is(VoiceState::Off).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_is_not_spoken_for_any_longer() {
    let bus = Bus::start().await.unwrap();
    let loudspeaker = Loudspeaker::alsa().unwrap();
    let setup = Daemon::setup(&bus).loudspeaker(&loudspeaker);
    let daemon = setup.start().await.unwrap();
    let caller = bus.connect(PATIENCE).await.unwrap();
    let voice = gemmad_api::VoiceProxy::new(&caller).await.unwrap();
    let long = "One two three four five six seven eight nine ten. ".repeat(4);
    tokio::select! {
        said = voice.say(&long, SayOptions::default()) => panic!("{said:?}"),
        _ = within(loudspeaker.sounds(0)) => {}
    }
    drop(voice);
    caller.close().await.unwrap();
    daemon.until_voice_is(VoiceState::Off).await.unwrap();
    within(loudspeaker.is_silent(loudspeaker.now(), SILENCE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_question_is_answered_aloud_and_the_answer_is_not_heard_as_a_question() {
    let bus = Bus::start().await.unwrap();
    let (loudspeaker, microphone) = Microphone::in_a_room(0.5).unwrap();
    let mut daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .loudspeaker(&loudspeaker)
        .start()
        .await
        .unwrap();
    daemon.until_it_listens().await.unwrap();
    let voice = daemon.voice();
    let mut started = voice.receive_speech_started().await.unwrap();
    let mut replies = voice.receive_reply().await.unwrap();
    for utterance in 1..=2 {
        let since = loudspeaker.now();
        microphone.play(&command()).await.unwrap();
        let reply = within(replies.next()).await.unwrap();
        assert_eq!(reply.args().unwrap().text, nano::ANSWER);
        let begin = within(loudspeaker.sounds(since)).await;
        let silent = within(loudspeaker.is_silent(begin, SILENCE)).await;
        let length = (silent - begin) * 1000 / LOUDSPEAKER_RATE as usize;
        assert!((300..6000).contains(&length), "{length} ms of answer");
        daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
        let heard = started.next().await.unwrap().args().unwrap().utterance;
        assert_eq!(heard, utterance, "it heard itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_over_the_assistant_silences_it_and_is_heard() {
    let bus = Bus::start().await.unwrap();
    let (loudspeaker, microphone) = Microphone::in_a_room(0.3).unwrap();
    let mut daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .loudspeaker(&loudspeaker)
        .set("speech", "enabled", false)
        .start()
        .await
        .unwrap();
    daemon.until_it_listens().await.unwrap();
    let voice = daemon.voice();
    let mut replies = voice.receive_reply().await.unwrap();
    let long = "One two three four five six seven eight nine ten. ".repeat(20);
    let (said, ()) = tokio::join!(
        voice.say(&long, SayOptions::default()),
        within(async {
            let begin = loudspeaker.sounds(0).await;
            // The echo canceller has adapted to the room after 3 s.
            let learned = begin + 3 * LOUDSPEAKER_RATE as usize;
            loudspeaker.reaches(learned).await;
            // On a busy machine the virtual devices lose time, and the canceller has to adapt again.
            while voice.state().await.unwrap() == VoiceState::Speaking {
                microphone.play(&command()).await.unwrap();
            }
        })
    );
    assert!(matches!(said, Err(Error::Cancelled(_))), "{said:?}");
    let reply = within(replies.next()).await.unwrap();
    let text = reply.args().unwrap().text.clone();
    if text != nano::ANSWER {
        microphone.play(&command()).await.unwrap();
        let reply = within(replies.next()).await.unwrap();
        assert_eq!(reply.args().unwrap().text, nano::ANSWER, "after {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_program_that_speaks_or_a_loudspeaker_there_is_a_problem_and_an_answer() {
    let bus = Bus::start().await.unwrap();
    let loudspeaker = Loudspeaker::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .loudspeaker(&loudspeaker)
        .set("speech", "command", vec!["no-such-synthesiser"])
        .start()
        .await
        .unwrap();
    let refused = daemon.voice().say("Hello.", SayOptions::default()).await;
    let Err(Error::NoSpeech(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.starts_with("cannot run no-such-synthesiser"), "{why}");
    let mut problems = daemon.voice().receive_speech_problem_changed().await;
    while daemon.voice().speech_problem().await.unwrap() != why {
        within(problems.next()).await;
    }
    drop(daemon);

    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let refused = within(daemon.voice().say("Hello.", SayOptions::default())).await;
    let Err(Error::NoSpeech(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("loudspeaker"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_texts_a_few_are_synthesised_and_those_beyond_the_places_are_refused() {
    let bus = Bus::start().await.unwrap();
    let loudspeaker = Loudspeaker::alsa().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    // A synthesiser that records each start and writes endless silence.
    let script = format!("echo >> '{}'; exec cat /dev/zero", started.display());
    let daemon = Daemon::setup(&bus)
        .loudspeaker(&loudspeaker)
        .set("speech", "command", vec!["/bin/sh", "-c", script.as_str()])
        .set("speech", "rate", 22_050)
        .start()
        .await
        .unwrap();
    let voice = daemon.voice();
    let mut calls: FuturesUnordered<_> = (0..30)
        .map(|_| voice.say("Something to say.", SayOptions::default()))
        .collect();
    for _ in 0..6 {
        let refused = within(calls.next()).await.unwrap();
        assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    }
    daemon.until_voice_is(VoiceState::Speaking).await.unwrap();
    voice.stop().await.unwrap();
    while let Some(outcome) = within(calls.next()).await {
        assert!(
            matches!(outcome, Err(Error::Cancelled(_) | Error::Busy(_))),
            "{outcome:?}"
        );
    }
    let started = std::fs::read_to_string(started).unwrap().lines().count();
    assert!((1..=3).contains(&started), "{started} were started");
}

#[tokio::test]
async fn a_voice_that_is_no_name_and_a_volume_out_of_range_are_refused() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    for (voice, volume) in [
        (Some("--help"), None),
        (Some("../../etc/passwd"), None),
        (None, Some(1.5)),
    ] {
        let options = SayOptions {
            voice: voice.map(Into::into),
            volume,
        };
        let refused = daemon.voice().say("Hello.", options).await;
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{refused:?}"
        );
    }
}
