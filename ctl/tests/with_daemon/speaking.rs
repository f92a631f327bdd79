//! `gemmactl transcribe`, `ask --audio`, `listen`, `mute` and `unmute`.

use gemmad_api::VoiceState;
use gemmad_testbed::{Bus, Daemon, Microphone, nano, speech};
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::{ANSWER, QUESTION, gemmactl::Gemmactl, idle, within};

/// A sound file with the spoken command.
fn recording() -> NamedTempFile {
    let file = NamedTempFile::with_suffix(".wav").unwrap();
    speech::write_wav(file.path(), &command()).unwrap();
    file
}

fn command() -> Vec<f32> {
    speech::say(QUESTION, "en-us").unwrap()
}

#[tokio::test]
async fn a_sound_file_becomes_text() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let file = recording();
    let path = file.path().to_str().unwrap();

    let plain = Gemmactl::run(&daemon, &["transcribe", path]).await;
    let text = format!("{}\n", nano::TRANSCRIPT);
    assert_eq!(
        (plain.code, &*plain.stdout, &*plain.stderr),
        (Some(0), &*text, "")
    );

    let json = Gemmactl::run(&daemon, &["transcribe", path, "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["text"], nano::TRANSCRIPT);
    assert!(json["audio_tokens"].as_u64().unwrap() > 20, "{json}");
}

#[tokio::test]
async fn a_sound_file_may_be_the_question() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let file = recording();
    let path = file.path().to_str().unwrap();
    let asked = Gemmactl::run(&daemon, &["ask", "--audio", path]).await;
    assert_eq!(
        (asked.code, &*asked.stdout, &*asked.stderr),
        (Some(0), ANSWER.as_str(), "")
    );
}

#[tokio::test]
async fn a_file_without_sound_is_refused() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let empty = NamedTempFile::new().unwrap();
    let path = empty.path().to_str().unwrap();
    for arguments in [
        &["transcribe", path][..],
        &["ask", "What?", "--audio", path],
    ] {
        let ended = Gemmactl::run(&daemon, arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(4), ""), "{ended:?}");
    }
}

/// A daemon that listens to `microphone` in mode `push`.
async fn push_to_talk(bus: &Bus, microphone: &Microphone) -> Daemon {
    let setup = Daemon::setup(bus).microphone(microphone);
    setup.set("voice", "mode", "push").start().await.unwrap()
}

/// A daemon that listens to `microphone` all the time, and waits for speech.
async fn waiting(bus: &Bus, microphone: &Microphone) -> Daemon {
    let daemon = Daemon::setup(bus).microphone(microphone);
    let daemon = daemon.start().await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_once_prints_the_one_answer() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = push_to_talk(&bus, &microphone).await;
    let once = Gemmactl::start(&daemon, &["listen", "--once"]);
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    microphone.play(&command()).await.unwrap();
    let ended = once.end().await;
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(0), ANSWER.as_str()),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_shows_what_was_heard_and_answered_until_ctrl_c() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .start()
        .await
        .unwrap();
    let mut live = Gemmactl::start(&daemon, &["listen"]);
    while !live.remark().await.starts_with("microphone: ") {}
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    for _ in 0..3 {
        microphone.play(&command()).await.unwrap();
        let mut lines = [live.line().await, live.line().await];
        lines.sort();
        assert_eq!(
            lines,
            [
                format!("answer: {}", *ANSWER),
                format!("heard: {}\n", nano::TRANSCRIPT)
            ]
        );
    }
    live.signal(Signal::INT);
    let ended = live.end().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(130), ""));
    idle(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_once_that_is_interrupted_stops_the_daemon_listening() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = push_to_talk(&bus, &microphone).await;
    let once = Gemmactl::start(&daemon, &["listen", "--once"]);
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    once.signal(Signal::INT);
    let ended = once.end().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(130), ""));
    daemon.until_voice_is(VoiceState::Off).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_once_ends_when_somebody_stops_it() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = push_to_talk(&bus, &microphone).await;
    let once = Gemmactl::start(&daemon, &["listen", "--once"]);
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    let stop = Gemmactl::run(&daemon, &["stop"]).await;
    assert_eq!(stop.code, Some(0));
    let ended = once.end().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(130), ""));
    assert!(ended.stderr.contains("nothing was heard"), "{ended:?}");
}

#[tokio::test]
async fn listening_without_a_microphone_is_refused() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let ended = Gemmactl::run(&daemon, &["listen", "--once"]).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(4), ""), "{ended:?}");
}

#[tokio::test]
async fn listening_ends_when_the_daemon_does() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let mut live = Gemmactl::start(&daemon, &["listen"]);
    assert_eq!(live.remark().await, "no microphone is open\n");
    assert!(daemon.stop().await.unwrap().success());
    let ended = live.end().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("the daemon went away"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_and_the_meter_follows_the_one_in_use() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let mut daemon = waiting(&bus, &microphone).await;
    let listed = Gemmactl::run(&daemon, &["devices"]).await;
    assert_eq!((listed.code, &*listed.stderr), (Some(0), ""));
    let lines: Vec<_> = listed.stdout.lines().collect();
    assert_eq!(lines[0], "microphones");
    assert!(
        lines[1..].iter().any(|it| it.contains("(in use; default)")),
        "{listed:?}"
    );

    let mut meter = Gemmactl::start(&daemon, &["devices", "--meter", "--json"]);
    let mut level = async || {
        let line: serde_json::Value = serde_json::from_str(&meter.line().await).unwrap();
        line["level"].as_f64().unwrap()
    };
    assert!(level().await < -90.0, "silence");
    let loud = vec![0.5; 8000];
    let (played, ()) = tokio::join!(
        microphone.play(&loud),
        within(async { while level().await < -7.0 {} })
    );
    played.unwrap();
    within(async { while level().await > -20.0 {} }).await;
    meter.signal(Signal::INT);
    assert_eq!(meter.end().await.code, Some(130));

    daemon.write("voice", "device", "no such device").unwrap();
    daemon.manager().reload().await.unwrap();
    within(async { while daemon.voice().level().await.unwrap() > -90.0 {} }).await;
    // Back at once, while the microphone is still being closed.
    daemon.write("voice", "device", "").unwrap();
    daemon.manager().reload().await.unwrap();
    within(async { while daemon.voice().device().await.unwrap().is_empty() {} }).await;
    let (played, ()) = tokio::join!(
        microphone.play(&loud),
        within(async { while daemon.voice().level().await.unwrap() < -7.0 {} })
    );
    played.unwrap();

    Gemmactl::run(&daemon, &["mute"]).await;
    daemon.until_voice_is(VoiceState::Off).await.unwrap();
    // While muted, a missing microphone is not a problem.
    within(async { while !daemon.voice().problem().await.unwrap().is_empty() {} }).await;
    let meter = Gemmactl::run(&daemon, &["devices", "--meter"]).await;
    assert_eq!((meter.code, &*meter.stdout), (Some(4), ""), "{meter:?}");
    assert!(meter.stderr.contains("no microphone is open"), "{meter:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn muting_closes_the_microphone_and_unmuting_opens_it() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = waiting(&bus, &microphone).await;
    for (word, state, muted) in [
        ("mute", VoiceState::Off, "off, muted"),
        ("unmute", VoiceState::Waiting, "waiting\n"),
    ] {
        assert_eq!(Gemmactl::run(&daemon, &[word]).await.code, Some(0));
        daemon.until_voice_is(state).await.unwrap();
        let status = Gemmactl::run(&daemon, &["status"]).await.stdout;
        assert!(status.contains(&format!("voice       {muted}")), "{status}");
    }
}
