//! Commands over a real bus to the real daemon: invoking, questions back, confirming, refusing, and changes of the
//! catalogue at run time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use gemmad_api::{
    AskOptions, CommandInfo, CommandsProxy, Error, Invocation, InvocationStatus, InvokeOptions,
    ManagerState, Outcome, Stats, from_dict,
};
use gemmad_testbed::{Bus, Daemon, Microphone, nano, speech};
use serde_json::{Value, json};

/// The shipped catalogues, on which the nano model was trained.
fn shipped() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands")).into()
}

async fn commands(daemon: &Daemon) -> CommandsProxy<'static> {
    CommandsProxy::new(daemon.connection()).await.unwrap()
}

async fn invoke(commands: &CommandsProxy<'_>, text: &str) -> (Outcome, String, Vec<Invocation>) {
    let invoked = commands.invoke(text, InvokeOptions::default()).await;
    let (outcome, text, invocations, _) = invoked.unwrap();
    (outcome, text, invocations)
}

fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// `text` as speech, followed by `silence_ms` of silence.
fn spoken(text: &str, silence_ms: u32) -> Vec<f32> {
    let words = speech::say(text, "en-us").unwrap();
    [speech::silence(400), words, speech::silence(silence_ms)].concat()
}

#[tokio::test]
async fn a_command_is_invoked_and_everybody_who_listens_hears_of_it() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut signals = commands.receive_invoked().await.unwrap();

    let dry = InvokeOptions {
        dry_run: Some(true),
    };
    let (outcome, _, rehearsed, _) = commands.invoke(nano::COMMAND, dry).await.unwrap();
    assert_eq!(outcome, Outcome::Commands);
    assert_eq!(rehearsed[0].status, InvocationStatus::DryRun);

    let invoked = commands
        .invoke(nano::COMMAND, InvokeOptions::default())
        .await;
    let (outcome, text, invoked, stats) = invoked.unwrap();
    assert_eq!((outcome, text.as_str()), (Outcome::Commands, ""));
    let [light] = invoked.as_slice() else {
        panic!("{invoked:?}")
    };
    assert_eq!(
        (light.name.as_str(), light.status),
        ("set_light", InvocationStatus::Done)
    );
    assert_eq!(light.arguments, r#"{"room":"kitchen","state":"on"}"#);
    let stats: Stats = from_dict(&stats).unwrap();
    assert!(stats.forced_tokens > 0, "{stats:?}");

    // The dry run came first, so a signal of it would come first.
    let signal = signals.next().await.unwrap();
    let signal = signal.args().unwrap();
    assert_eq!((signal.id, signal.name.as_str()), (light.id, "set_light"));
    assert_eq!(signal.arguments_json, light.arguments);
    assert_eq!(
        String::try_from(signal.details["origin"].clone()).unwrap(),
        "text"
    );
    assert!(signal.details.contains_key("user"));
    let log = daemon.log();
    assert!(log.contains("command set_light: done"), "{log}");
    assert!(!log.contains("kitchen"), "{log}");
}

#[tokio::test]
async fn what_is_no_command_or_lacks_something_does_nothing() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let (outcome, text, invoked) = invoke(&commands, "how are you").await;
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::Nothing, "I am fine, thank you.")
    );
    assert!(invoked.is_empty());
    let (outcome, text, invoked) = invoke(&commands, "turn on the light").await;
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::Question, "In which room?")
    );
    assert!(invoked.is_empty());
    let refused = commands
        .invoke(" ", InvokeOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
    assert!(!daemon.log().contains("command "), "{}", daemon.log());
}

#[tokio::test]
async fn what_has_to_be_confirmed_waits_for_it() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut asked = commands.receive_unconfirmed().await.unwrap();
    let (_, _, invoked) = invoke(&commands, "call Anna").await;
    assert_eq!(invoked[0].status, InvocationStatus::Unconfirmed);
    assert_eq!(
        asked.next().await.unwrap().args().unwrap().id,
        invoked[0].id
    );

    let mut done = commands.receive_invoked().await.unwrap();
    let confirmed = commands.confirm(invoked[0].id).await.unwrap();
    assert_eq!(confirmed[0].status, InvocationStatus::Done);
    assert_eq!(
        arguments(&confirmed[0].arguments),
        json!({"contact": "Anna"})
    );
    assert_eq!(done.next().await.unwrap().args().unwrap().id, invoked[0].id);
    let again = commands.confirm(invoked[0].id).await.unwrap_err();
    assert!(matches!(again, Error::InvalidArgument(_)), "{again:?}");
}

#[tokio::test]
async fn halting_needs_no_model() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).commands(&shipped());
    // There is no model, and halting needs none.
    let daemon = daemon.set("model", "text", "/nonexistent.gguf");
    let daemon = daemon.until(ManagerState::Degraded).start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut done = commands.receive_invoked().await.unwrap();
    let halted = commands.halt().await.unwrap();
    let [stop] = halted.as_slice() else {
        panic!("{halted:?}")
    };
    assert_eq!(
        (stop.name.as_str(), stop.status),
        ("stop", InvocationStatus::Done)
    );
    let signal = done.next().await.unwrap();
    assert_eq!(signal.args().unwrap().id, stop.id);
}

#[tokio::test]
async fn what_waits_is_gone_after_halting() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    for halt in [true, false] {
        let (_, _, waiting) = invoke(&commands, "call Anna").await;
        assert_eq!(waiting[0].status, InvocationStatus::Unconfirmed);
        if halt {
            commands.halt().await.unwrap();
        } else {
            let (_, _, stopped) = invoke(&commands, "emergency stop").await;
            assert_eq!(stopped[0].name, "stop");
        }
        let gone = commands.confirm(waiting[0].id).await.unwrap_err();
        assert!(matches!(gone, Error::InvalidArgument(_)), "{gone:?}");
    }
}

#[tokio::test]
async fn the_catalogue_changes_while_the_daemon_runs_and_a_broken_file_changes_nothing() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.toml");
    std::fs::write(&file, "[commands.dance]\ndescription = \"Dance.\"\n").unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    let commands = commands(&daemon).await;
    assert!(!commands.enabled().await.unwrap());
    let off = commands.list().await.unwrap_err();
    assert!(matches!(off, Error::NotSupported(_)), "{off:?}");

    let mut switched = commands.receive_enabled_changed().await;
    let mut next = async || switched.next().await.unwrap().get().await.unwrap();
    assert!(!next().await, "what it is at first");
    let folders = vec![folder.path().display().to_string()];
    daemon.write("commands", "enabled", true).unwrap();
    daemon.write("commands", "folders", folders).unwrap();
    let (changed, _) = daemon.manager().reload().await.unwrap();
    assert_eq!(changed, ["commands.enabled", "commands.folders"]);
    assert!(next().await);
    let names = async || {
        let list = commands.list().await.unwrap();
        let list = list
            .iter()
            .map(|it| from_dict::<CommandInfo>(it).unwrap().name);
        list.collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["dance"]);

    std::fs::write(
        &file,
        "[commands.dance]\ndescription = \"Dance.\"\n\n[commands.x]\n",
    )
    .unwrap();
    let Error::InvalidConfiguration(why) = daemon.manager().reload().await.unwrap_err() else {
        panic!()
    };
    assert!(
        why.contains("one.toml:4: commands.x: missing field `description`"),
        "{why}"
    );
    assert_eq!(names().await, ["dance"]);

    let more =
        "[commands.dance]\ndescription = \"Dance.\"\n[commands.bow]\ndescription = \"Bow.\"\n";
    std::fs::write(&file, more).unwrap();
    let (changed, _) = daemon.manager().reload().await.unwrap();
    assert_eq!(changed, ["commands.folders"]);
    assert!(next().await, "another catalogue is in force");
    assert_eq!(names().await, ["bow", "dance"]);
}

#[tokio::test]
async fn declarations_are_read_once_and_kept() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).commands(&shipped());
    let daemon = daemon
        .set("commands", "declare", true)
        .set("engine", "context", 8192);
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let ask = async || {
        let invoked = commands
            .invoke(nano::COMMAND, InvokeOptions::default())
            .await;
        from_dict::<Stats>(&invoked.unwrap().3).unwrap()
    };
    // The engine prefills the prefix of the commands when it is idle.
    let mut stats = ask().await;
    let patience = Instant::now();
    while stats.prompt_tokens - stats.cached_tokens >= 20
        && patience.elapsed() < Duration::from_mins(1)
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stats = ask().await;
    }
    assert!(stats.prompt_tokens - stats.cached_tokens < 20, "{stats:?}");
    // The prompt of an ordinary question does not hold the commands.
    let (text, stats) = daemon
        .manager()
        .ask(nano::QUESTION, AskOptions::default())
        .await
        .unwrap();
    assert_eq!(text, nano::ANSWER);
    assert!(from_dict::<Stats>(&stats).unwrap().prompt_tokens < 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_command_is_invoked_and_its_reply_says_which() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut invoked = commands.receive_invoked().await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    microphone.play(&spoken(nano::COMMAND, 1200)).await.unwrap();
    let signal = invoked.next().await.unwrap();
    let signal = signal.args().unwrap();
    assert_eq!(signal.name, "set_light");
    assert_eq!(
        arguments(&signal.arguments_json),
        json!({"room": "kitchen", "state": "on"})
    );
    assert_eq!(
        String::try_from(signal.details["origin"].clone()).unwrap(),
        "voice"
    );
    let reply = replies.next().await.unwrap();
    assert_eq!(reply.args().unwrap().text, "Lights on, kitchen.");
}

/// With this prompt nano transcribes nothing, so the second reading gives no command.
const NO_TRANSCRIPT: &str = "Say hello.";

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_command_whose_transcript_gives_another_is_asked_about_and_one_that_halts_is_not() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("transcribe", "prompt", NO_TRANSCRIPT)
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut invoked = commands.receive_invoked().await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    microphone.play(&spoken(nano::COMMAND, 1200)).await.unwrap();
    let reply = replies.next().await.unwrap();
    assert_eq!(
        reply.args().unwrap().text,
        "Did you mean: set light, room kitchen, state on?\nSay “yes” or “no”."
    );
    microphone.play(&spoken("stop", 1200)).await.unwrap();
    let signal = invoked.next().await.unwrap();
    assert_eq!(signal.args().unwrap().name, "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_command_that_is_not_certain_waits_for_a_yes_if_it_is_to_ask() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("transcribe", "prompt", NO_TRANSCRIPT)
        .set("commands", "certainty", "ask")
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    microphone.play(&spoken(nano::COMMAND, 1200)).await.unwrap();
    let reply = replies.next().await.unwrap();
    assert_eq!(
        reply.args().unwrap().text,
        "Did you mean: set light, room kitchen, state on?\nSay “yes” or “no”."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_or_no_said_next_decides_about_what_was_said_and_has_to_be_confirmed() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("voice", "transcript", false)
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut invoked = commands.receive_invoked().await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    let asked = "Did you mean: set lock, door front, state locked?\nSay “yes” or “no”.";
    for (said, reply) in [
        ("lock the front door", asked),
        ("go ahead", "The front door is locked."),
        ("lock the front door", asked),
        ("cancel", "Not done: set lock, door front, state locked."),
        // After any other utterance, a yes or no decides nothing.
        ("lock the front door", asked),
        (nano::COMMAND, "Lights on, kitchen."),
    ] {
        microphone.play(&spoken(said, 1200)).await.unwrap();
        let signal = replies.next().await.unwrap();
        assert_eq!(signal.args().unwrap().text, reply, "{said}");
    }
    microphone.play(&spoken("go ahead", 1200)).await.unwrap();
    let undecided = replies.next().await.unwrap();
    let undecided = undecided.args().unwrap();
    assert!(!undecided.text.contains("set_lock"), "{}", undecided.text);
    for name in ["set_lock", "set_light"] {
        let signal = invoked.next().await.unwrap();
        assert_eq!(signal.args().unwrap().name, name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_command_is_not_waited_on() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .set("voice", "endpoint_ms", 5000)
        .commands(&shipped());
    let daemon = daemon.start().await.unwrap();
    let commands = commands(&daemon).await;
    let mut invoked = commands.receive_invoked().await.unwrap();
    // A shorter silence would not end the first utterance.
    let twice = spoken(nano::COMMAND, 3000).repeat(2);
    microphone.play(&twice).await.unwrap();
    for _ in 0..2 {
        let signal = invoked.next().await.unwrap();
        assert_eq!(signal.args().unwrap().name, "set_light");
    }
}

#[tokio::test]
async fn an_answer_validates_against_its_schema_or_fails_by_name() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let manager = daemon.manager();
    let schema = json!({
        "type": "object",
        "properties": {"room": {"enum": ["kitchen", "bathroom"]}, "level": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["room", "level"],
        "additionalProperties": false,
    });
    let with = |schema: &Value, max_tokens| AskOptions {
        schema: Some(schema.to_string()),
        max_tokens,
        ..AskOptions::default()
    };
    let (text, _) = manager
        .ask(nano::COMMAND, with(&schema, None))
        .await
        .unwrap();
    let answer = arguments(&text);
    assert!(
        ["kitchen", "bathroom"].contains(&answer["room"].as_str().unwrap()),
        "{text}"
    );
    assert!(
        (1..=9).contains(&answer["level"].as_i64().unwrap()),
        "{text}"
    );

    let Error::Incomplete(why) = manager
        .ask("Hello", with(&schema, Some(3)))
        .await
        .unwrap_err()
    else {
        panic!()
    };
    assert!(why.contains("(so far: {"), "{why}");
    for broken in [
        json!({"type": "colour"}),
        json!(3),
        json!({"type": "integer", "minimum": 2, "maximum": 1}),
    ] {
        let refused = manager.ask("Hello", with(&broken, None)).await.unwrap_err();
        assert!(
            matches!(refused, Error::InvalidSchema(_)),
            "{broken}: {refused:?}"
        );
    }
    let thinking = AskOptions {
        thinking: Some(true),
        ..with(&schema, None)
    };
    let refused = manager.ask("Hello", thinking).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
}
