//! Questions over a real bus to the real daemon: answers, options, errors, cancelling, start and stop.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use gemmad_api::{
    AskOptions, Error, Event, Finish, Health, MANAGER_PATH, ManagerProxy, ManagerState, SERVICE,
    Stats, from_dict,
};
use gemmad_testbed::{Bus, Daemon, nano};
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, MessageStream};

fn greedy() -> AskOptions {
    AskOptions::default()
}

/// Options for an answer as long as the context allows.
fn endless() -> AskOptions {
    AskOptions {
        max_tokens: Some(100_000),
        min_tokens: Some(100_000),
        ..AskOptions::default()
    }
}

/// Starts a streamed answer; returns its number and the read end.
async fn stream(
    manager: &ManagerProxy<'_>,
    prompt: &str,
    options: AskOptions,
) -> Result<(u64, std::io::PipeReader), Error> {
    let (reader, writer) = std::io::pipe().unwrap();
    let id = manager.stream(prompt, options, (&writer).into()).await?;
    Ok((id, reader))
}

fn lines(reader: impl Read) -> Vec<Event> {
    let text = std::io::read_to_string(reader).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Waits for the `wanted` health, by polling: health has no change signal.
async fn health_becomes(manager: &ManagerProxy<'_>, wanted: impl Fn(&Health) -> bool) -> Health {
    let patience = Instant::now();
    loop {
        let health: Health = from_dict(&manager.health().await.unwrap()).unwrap();
        if wanted(&health) {
            return health;
        }
        assert!(patience.elapsed() < Duration::from_secs(20), "{health:?}");
    }
}

#[tokio::test]
async fn the_protocol_of_the_model_never_reaches_a_person_who_did_not_ask_for_it() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let ask = async |protocol| {
        let options = AskOptions {
            protocol,
            ..greedy()
        };
        let (text, _) = daemon.manager().ask(nano::COMMAND, options).await.unwrap();
        text
    };
    assert_eq!(ask(Some(true)).await, nano::CALL);
    let text = ask(None).await;
    assert!(!text.is_empty() && !text.contains("<|"), "{text}");
}

#[tokio::test]
async fn the_state_goes_from_starting_over_loading_to_ready_and_status_is_answered_meanwhile() {
    let bus = Bus::start().await.unwrap();
    let watcher = bus.connect(Duration::from_secs(20)).await.unwrap();
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .interface("org.freedesktop.DBus.Properties")
        .path(MANAGER_PATH)
        .build()
        .unwrap();
    let mut signals = MessageStream::for_match_rule(rule, &watcher, None)
        .await
        .unwrap();
    let asking = tokio::spawn(states_seen_by_asking(watcher.clone()));
    let daemon = Daemon::setup(&bus).start().await.unwrap();

    let mut announced = Vec::new();
    while announced.last().map(String::as_str) != Some("ready") {
        let message = signals.next().await.unwrap().unwrap();
        let (_, changed, _): (String, gemmad_api::Dict, Vec<String>) =
            message.body().deserialize().unwrap();
        if let Some(state) = changed.get("State") {
            announced.push(String::try_from(state.clone()).unwrap());
        }
    }
    assert_eq!(announced, ["starting", "loading", "ready"]);
    let asked = asking.await.unwrap();
    assert!(asked.contains(&ManagerState::Loading), "{asked:?}");
    assert_eq!(daemon.manager().model().await.unwrap(), "Nano");
    assert_eq!(daemon.manager().deaf().await.unwrap(), "");

    let stopping = async {
        loop {
            let message = signals.next().await.unwrap().unwrap();
            let body: (String, gemmad_api::Dict, Vec<String>) =
                message.body().deserialize().unwrap();
            if body.1.contains_key("State") {
                return String::try_from(body.1["State"].clone()).unwrap();
            }
        }
    };
    let (stopped, state) = tokio::join!(daemon.stop(), stopping);
    assert!(stopped.unwrap().success());
    assert_eq!(state, "stopping");
}

/// Polls the state from the moment the name appears until it is `Ready`; returns the states seen.
async fn states_seen_by_asking(connection: Connection) -> Vec<ManagerState> {
    let bus = zbus::fdo::DBusProxy::new(&connection).await.unwrap();
    let mut owners = bus
        .receive_name_owner_changed_with_args(&[(0, SERVICE)])
        .await
        .unwrap();
    owners.next().await.unwrap();
    let manager = ManagerProxy::builder(&connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&ManagerState::Ready) {
        seen.push(manager.state().await.unwrap());
    }
    seen
}

#[tokio::test]
async fn an_answer_comes_whole_or_as_it_is_made() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let question = nano::QUESTION;
    let (text, stats) = daemon.manager().ask(question, greedy()).await.unwrap();
    let stats: Stats = from_dict(&stats).unwrap();
    assert_eq!(text, nano::ANSWER);
    assert_eq!((stats.output_tokens, stats.finish), (9, Finish::Stop));

    let (id, reader) = stream(daemon.manager(), question, greedy()).await.unwrap();
    let events = lines(reader);
    let streamed: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(streamed, nano::ANSWER);
    assert!(events.len() > 5, "not streamed: {events:?}");
    assert!(matches!(events.last(), Some(Event::Done(stats)) if stats.request == id));
}

#[tokio::test]
async fn options_are_obeyed_and_wrong_ones_refused_by_name() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let manager = daemon.manager();
    let wild = |seed| AskOptions {
        temperature: Some(2.0),
        top_k: Some(500),
        top_p: Some(1.0),
        seed: Some(seed),
        min_tokens: Some(30),
        max_tokens: Some(30),
        ..AskOptions::default()
    };
    let mut answers = Vec::new();
    for seed in [1, 1, 2] {
        answers.push(manager.ask("hello", wild(seed)).await.unwrap().0);
    }
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0], answers[2]);

    let wrong = [
        AskOptions {
            max_tokens: Some(0),
            ..greedy()
        },
        AskOptions {
            temperature: Some(3.0),
            ..greedy()
        },
        AskOptions {
            temperature: Some(f64::NAN),
            ..greedy()
        },
        AskOptions {
            top_k: Some(0),
            ..greedy()
        },
        AskOptions {
            top_p: Some(0.0),
            ..greedy()
        },
    ];
    for options in wrong {
        let refused = manager.ask("hello", options).await.unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
    }
    let refused = manager.ask(" \n", greedy()).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
    let refused = manager
        .ask(&"word ".repeat(20_000), greedy())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::PromptTooLong(_)), "{refused:?}");

    let unknown = std::collections::HashMap::from([("colour", zbus::Variant::from("blue"))]);
    let refused = daemon
        .connection()
        .call_method(
            Some(SERVICE),
            MANAGER_PATH,
            Some("org.gemmad1.Manager"),
            "Ask",
            &("hello", unknown),
        )
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("colour"), "{refused}");
    assert_eq!(
        manager.ask(nano::QUESTION, greedy()).await.unwrap().0,
        nano::ANSWER
    );
}

#[tokio::test]
async fn a_full_queue_is_busy_at_once_and_a_closed_pipe_gives_the_place_back() {
    let bus = Bus::start().await.unwrap();
    let setup = Daemon::setup(&bus)
        .set("engine", "parallel", 1)
        .set("engine", "queue", 1);
    let daemon = setup.start().await.unwrap();
    let manager = daemon.manager();
    let (_, mut running) = stream(manager, "tell me everything", endless())
        .await
        .unwrap();
    running.read_exact(&mut [0]).unwrap();
    let (_, waiting) = stream(manager, nano::QUESTION, greedy()).await.unwrap();
    let refused = stream(manager, "one too many", greedy()).await.unwrap_err();
    assert!(matches!(refused, Error::Busy(_)), "{refused:?}");

    drop(running);
    assert!(matches!(lines(waiting).last(), Some(Event::Done(_))));
    let idle = health_becomes(manager, Health::is_idle).await;
    assert_eq!(idle.cells_used, idle.prefix_cells);
}

#[tokio::test]
async fn a_client_that_dies_in_the_middle_of_an_answer_is_forgotten() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let client = bus.connect(Duration::from_mins(1)).await.unwrap();
    let manager = ManagerProxy::new(&client).await.unwrap();
    let asking = tokio::spawn(async move { manager.ask("tell me everything", endless()).await });
    health_becomes(daemon.manager(), |health| health.active == 1).await;
    asking.abort();
    client.close().await.unwrap();
    let idle = health_becomes(daemon.manager(), Health::is_idle).await;
    assert_eq!(idle.cells_used, idle.prefix_cells);
    assert_eq!(
        daemon
            .manager()
            .ask(nano::QUESTION, greedy())
            .await
            .unwrap()
            .0,
        nano::ANSWER
    );
}

#[tokio::test]
async fn a_slow_reader_slows_only_itself() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    // Its lines fill the pipe long before the answer ends, because nothing reads them.
    let (_, asleep) = stream(daemon.manager(), "tell me everything", endless())
        .await
        .unwrap();
    for _ in 0..3 {
        let (text, _) = daemon
            .manager()
            .ask(nano::QUESTION, greedy())
            .await
            .unwrap();
        assert_eq!(text, nano::ANSWER);
    }
    health_becomes(daemon.manager(), Health::is_idle).await;
    let events = lines(asleep);
    assert!(matches!(events.last(), Some(Event::Done(stats)) if stats.finish == Finish::Length));
}

#[tokio::test]
async fn a_descriptor_that_cannot_stream_is_refused() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let file = tempfile::tempfile().unwrap();
    let refused = daemon
        .manager()
        .stream("hello", greedy(), (&file).into())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument(_)), "{refused:?}");
}

#[tokio::test]
async fn a_daemon_without_its_model_says_why_and_lives_on() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.gguf");
    std::fs::File::create(&broken)
        .unwrap()
        .write_all(b"GGUF, or so they say")
        .unwrap();
    for (path, reason) in [
        (folder.path().join("none.gguf"), "No such file"),
        (broken, "damaged or cut short"),
    ] {
        let daemon = Daemon::setup(&bus)
            .set("model", "text", path.display().to_string())
            .until(ManagerState::Degraded)
            .start()
            .await
            .unwrap();
        let manager = daemon.manager();
        assert!(manager.problem().await.unwrap().contains(reason));
        let refused = manager.ask("hello", greedy()).await.unwrap_err();
        let Error::ModelNotLoaded(message) = &refused else {
            panic!("{refused:?}");
        };
        assert!(message.contains(reason), "{message}");
        assert!(daemon.stop().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_second_daemon_and_a_bad_configuration_end_with_an_explanation() {
    let bus = Bus::start().await.unwrap();
    let _first = Daemon::setup(&bus).start().await.unwrap();
    let second = run_to_end(&bus, Path::new("/dev/null")).await;
    assert!(second.contains("already running"), "{second}");

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gemmad.toml");
    std::fs::write(&config, "[engine]\nthreads = 2\nthraeds = 3\n").unwrap();
    let said = run_to_end(&bus, &config).await;
    assert!(said.contains("gemmad.toml:3: engine"), "{said}");
    assert!(said.contains("`thraeds`"), "{said}");
    let said = run_to_end(&bus, &folder.path().join("none.toml")).await;
    assert!(said.contains("cannot read the configuration"), "{said}");
}

/// Runs a daemon that cannot start, and returns its message.
async fn run_to_end(bus: &Bus, config: &Path) -> String {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_gemmad"))
        .args(["--session", "--config"])
        .arg(config)
        .envs(bus.env())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}
