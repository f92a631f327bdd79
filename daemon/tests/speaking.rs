//! Spoken turns: speech synthesised here, played into a virtual microphone, captured through cpal by
//! the real daemon, and answered on a real bus.

use std::io::Read;

use futures_util::StreamExt;
use gemmad_api::{AskOptions, Error, Event, Stats, VoiceState, from_dict};
use gemmad_testbed::{Bus, Daemon, Encoding, Microphone, nano, speech};

/// `text` as speech, with silence before it, and enough after it to end the utterance.
fn utterance(text: &str) -> Vec<f32> {
    let mut sound = speech::silence(400);
    sound.extend(speech::say(text, "en-us").unwrap());
    sound.extend(speech::silence(1200));
    sound
}

/// The contents of a spoken turn's signals.
struct Turn {
    utterance: u64,
    transcript: String,
    reply: String,
    stats: Stats,
}

/// Plays `text` into the microphone and follows the signals of the turn.
async fn speak(daemon: &Daemon, microphone: &Microphone, text: &str) -> Turn {
    let voice = daemon.voice();
    let mut started = voice.receive_speech_started().await.unwrap();
    let mut ended = voice.receive_speech_ended().await.unwrap();
    let mut transcripts = voice.receive_transcript().await.unwrap();
    let mut replies = voice.receive_reply().await.unwrap();
    let sound = utterance(text);
    let (played, number) = tokio::join!(microphone.play(&sound), async {
        started.next().await.unwrap().args().unwrap().utterance
    });
    played.unwrap();
    let ended = ended.next().await.unwrap();
    let (ended, heard_ms) = (
        ended.args().unwrap().utterance,
        ended.args().unwrap().milliseconds,
    );
    assert!((500..4000).contains(&heard_ms), "{heard_ms} ms");
    let transcript = transcripts.next().await.unwrap();
    let reply = replies.next().await.unwrap();
    let (transcript, reply) = (transcript.args().unwrap(), reply.args().unwrap());
    assert_eq!([number, transcript.utterance, reply.utterance], [ended; 3]);
    Turn {
        utterance: ended,
        transcript: transcript.text.clone(),
        reply: reply.text.clone(),
        stats: from_dict(&reply.stats).unwrap(),
    }
}

/// Asks for one utterance and waits until the microphone is open for it.
async fn push_to_talk(daemon: &Daemon) {
    daemon.voice().listen().await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_spoken_turns_through_alsa_are_transcribed_and_answered() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .start()
        .await
        .unwrap();
    for _ in 0..3 {
        let turn = speak(&daemon, &microphone, nano::QUESTION).await;
        assert_eq!(
            (turn.transcript.as_str(), turn.reply.as_str()),
            (nano::TRANSCRIPT, nano::ANSWER)
        );
        assert!(
            turn.stats.speech_to_token_ms.is_some_and(|ms| ms > 0.0),
            "{:?}",
            turn.stats
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stereo_microphone_of_48_khz_behind_pulseaudio_is_understood() {
    let bus = Bus::start().await.unwrap();
    let encoding = Encoding::of_16_bits(48_000, 2);
    let microphone = Microphone::pulse(encoding).await.unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .start()
        .await
        .unwrap();
    let turn = speak(&daemon, &microphone, nano::QUESTION).await;
    assert_eq!(
        (turn.transcript.as_str(), turn.reply.as_str()),
        (nano::TRANSCRIPT, nano::ANSWER)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_spoken_during_a_long_typed_answer_is_answered_first() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("engine", "context", 8192)
        .start()
        .await
        .unwrap();
    let options = AskOptions {
        max_tokens: Some(100_000),
        min_tokens: Some(100_000),
        ..AskOptions::default()
    };
    let (mut reader, writer) = std::io::pipe().unwrap();
    daemon
        .manager()
        .stream("tell me everything", options, (&writer).into())
        .await
        .unwrap();
    drop(writer);
    reader.read_exact(&mut [0]).unwrap();
    let turn = speak(&daemon, &microphone, nano::QUESTION).await;
    assert_eq!(
        (turn.transcript.as_str(), turn.reply.as_str()),
        (nano::TRANSCRIPT, nano::ANSWER)
    );
    let text = std::io::read_to_string(reader).unwrap();
    let last = text.lines().last().unwrap();
    assert!(
        matches!(serde_json::from_str(last), Ok(Event::Done(_))),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn push_to_talk_hears_one_utterance_and_mute_none() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("voice", "mode", "push")
        .start()
        .await
        .unwrap();
    let voice = daemon.voice();
    microphone.play(&utterance(nano::QUESTION)).await.unwrap();
    push_to_talk(&daemon).await;
    let turn = speak(&daemon, &microphone, nano::QUESTION).await;
    assert_eq!(turn.reply, nano::ANSWER);
    // The speech before it was not heard.
    assert_eq!(turn.utterance, 1);
    daemon.until_voice_is(VoiceState::Off).await.unwrap();

    let mut changes = voice.receive_muted_changed().await;
    voice.set_muted(true).await.unwrap();
    while !voice.muted().await.unwrap() {
        changes.next().await.expect("the daemon lives");
    }
    let refused = voice.listen().await.unwrap_err();
    assert!(matches!(refused, Error::NoMicrophone(_)), "{refused:?}");
    voice.set_muted(false).await.unwrap();
    push_to_talk(&daemon).await;
    assert_eq!(
        speak(&daemon, &microphone, nano::QUESTION).await.reply,
        nano::ANSWER
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_drops_the_utterance_being_heard() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .start()
        .await
        .unwrap();
    let voice = daemon.voice();
    let mut started = voice.receive_speech_started().await.unwrap();
    let mut ended = voice.receive_speech_ended().await.unwrap();
    let mut failed = voice.receive_failed().await.unwrap();
    let long = utterance("turn on the kitchen light and then turn it off again and then on again");
    let (played, ()) = tokio::join!(microphone.play(&long), async {
        started.next().await.unwrap();
        voice.stop().await.unwrap();
    });
    played.unwrap();
    let failed = failed.next().await.unwrap();
    let failed = failed.args().unwrap();
    assert_eq!(
        (failed.utterance, failed.error.as_str()),
        (1, "org.gemmad1.Error.Cancelled")
    );
    // The next speech is another utterance; `SpeechEnded` is never signalled for the stopped one.
    let turn = async {
        microphone.play(&utterance(nano::QUESTION)).await.unwrap();
        ended.next().await.unwrap().args().unwrap().utterance
    };
    assert!(turn.await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_microphone_the_daemon_says_so_and_answers_questions() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus)
        .set("voice", "mode", "always")
        .start()
        .await
        .unwrap();
    let voice = daemon.voice();
    let problems = voice.receive_problem_changed().await;
    let texts = problems.filter_map(|change| async move { change.get().await.ok() });
    let mut told = std::pin::pin!(texts.filter(|text| std::future::ready(!text.is_empty())));
    let problem = told.next().await.unwrap();
    assert!(problem.contains("microphone"), "{problem}");
    let refused = voice.listen().await.unwrap_err();
    assert!(
        matches!(&refused, Error::NoMicrophone(why) if *why == problem),
        "{refused:?}"
    );
    assert_eq!(voice.state().await.unwrap(), VoiceState::Off);
    let (text, _) = daemon
        .manager()
        .ask(nano::QUESTION, AskOptions::default())
        .await
        .unwrap();
    assert_eq!(text, nano::ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_microphone_that_disappears_is_missed_and_heard_again_when_it_is_back() {
    let bus = Bus::start().await.unwrap();
    for mut microphone in [
        Microphone::alsa().unwrap(),
        Microphone::pulse(Encoding::default()).await.unwrap(),
    ] {
        let daemon = Daemon::setup(&bus)
            .microphone(&microphone)
            .start()
            .await
            .unwrap();
        assert_eq!(
            speak(&daemon, &microphone, nano::QUESTION).await.reply,
            nano::ANSWER
        );
        microphone.unplug();
        daemon.until_microphone_is(false).await.unwrap();
        let mut problems = daemon.voice().receive_problem_changed().await;
        while daemon.voice().problem().await.unwrap().is_empty() {
            problems.next().await.expect("the daemon lives");
        }
        let (text, _) = daemon
            .manager()
            .ask(nano::QUESTION, AskOptions::default())
            .await
            .unwrap();
        assert_eq!(text, nano::ANSWER);

        microphone.plug_in().await.unwrap();
        daemon.until_microphone_is(true).await.unwrap();
        assert_eq!(
            speak(&daemon, &microphone, nano::QUESTION).await.reply,
            nano::ANSWER
        );
        assert!(daemon.stop().await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_microphone_of_any_rate_and_channels_is_understood_when_it_takes_the_place_of_another() {
    let bus = Bus::start().await.unwrap();
    let mut microphone = Microphone::pulse(Encoding::default()).await.unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .start()
        .await
        .unwrap();
    daemon.until_microphone_is(true).await.unwrap();
    for (rate, channels) in [(44_100, 2), (48_000, 8), (96_000, 1)] {
        microphone.unplug_for(Encoding::of_16_bits(rate, channels));
        daemon.until_microphone_is(false).await.unwrap();
        microphone.plug_in().await.unwrap();
        daemon.until_microphone_is(true).await.unwrap();
        let turn = speak(&daemon, &microphone, nano::QUESTION).await;
        assert_eq!(turn.reply, nano::ANSWER, "{rate} Hz, {channels} channels");
    }
}
