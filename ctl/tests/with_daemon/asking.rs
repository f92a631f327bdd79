//! `gemmactl ask`.

use gemmad_api::Event;
use gemmad_testbed::{Bus, Daemon};
use rustix::process::Signal;

use crate::{ANSWER, QUESTION, gemmactl::Gemmactl, idle};

/// A question whose answer takes much longer than the test.
pub const LONG: [&str; 6] = [
    "ask",
    "tell me everything",
    "--min-tokens",
    "3000",
    "--max-tokens",
    "3000",
];

#[tokio::test]
async fn the_answer_goes_to_standard_output_and_nothing_else_does() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let asked = Gemmactl::run(&daemon, &["ask", "how", "are", "you"]).await;
    assert_eq!(
        (asked.code, &*asked.stdout, &*asked.stderr),
        (Some(0), ANSWER.as_str(), "")
    );

    let asked = Gemmactl::run(&daemon, &["ask", "--verbose", QUESTION]).await;
    assert_eq!((asked.code, &*asked.stdout), (Some(0), ANSWER.as_str()));
    assert!(
        asked.stderr.contains(" answer tokens, first token after "),
        "{asked:?}"
    );
}

#[tokio::test]
async fn json_lines_are_the_events_of_the_contract() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let asked = Gemmactl::run(&daemon, &["ask", "--json", QUESTION]).await;
    assert_eq!(asked.code, Some(0));
    assert_eq!(text(&asked.stdout), ANSWER.trim_end());
    let last = serde_json::from_str(asked.stdout.lines().last().unwrap()).unwrap();
    assert!(matches!(last, Event::Done(stats) if stats.output_tokens > 5));
}

/// The pieces of text in JSON lines, joined.
pub fn text(lines: &str) -> String {
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    events
        .filter_map(|event| match event {
            Event::Text { text, .. } => Some(text),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn the_same_seed_gives_the_same_answer() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let ask = async |seed| {
        let options = [
            "ask",
            "tell me everything",
            "--temperature",
            "2",
            "--top-k",
            "500",
            "--top-p",
            "1",
            "--max-tokens",
            "20",
        ];
        Gemmactl::run(&daemon, &[&options[..], &["--seed", seed]].concat())
            .await
            .stdout
    };
    let first = ask("5").await;
    assert_eq!(first, ask("5").await);
    assert_ne!(first, ask("6").await);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_said_to_be_and_has_a_code_of_its_own() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let whole = ANSWER.trim_end();
    for option in [None, Some("--json")] {
        let arguments = ["ask", QUESTION, "--max-tokens", "4"];
        let arguments: Vec<_> = arguments.into_iter().chain(option).collect();
        let asked = Gemmactl::run(&daemon, &arguments).await;
        assert_eq!(asked.code, Some(6), "{asked:?}");
        let cut = "the answer was cut off after 4 tokens, ";
        assert!(asked.stderr.contains(cut), "{asked:?}");
        let answer = match option {
            Some(_) => text(&asked.stdout),
            None => asked.stdout.trim_end().to_owned(),
        };
        assert!(
            whole.starts_with(&answer) && answer.len() < whole.len(),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn json_that_is_cut_off_before_it_fits_its_schema_has_the_same_code() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let schema = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&schema, r#"{"type": "string", "minLength": 50}"#).unwrap();
    let schema = schema.path().to_str().unwrap();
    let arguments = ["ask", QUESTION, "--max-tokens", "4", "--schema", schema];
    let asked = Gemmactl::run(&daemon, &arguments).await;
    assert_eq!(asked.code, Some(6), "{asked:?}");
    assert!(asked.stderr.starts_with("gemmactl: "), "{asked:?}");
}

#[tokio::test]
async fn what_the_daemon_refuses_is_said_on_standard_error() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let long = "word ".repeat(6000);
    for arguments in [
        &["ask", "Hello", "--temperature", "5"][..],
        &["ask", "Hello", "--max-tokens", "0"],
        &["ask", ""],
        &["ask", &long],
    ] {
        let asked = Gemmactl::run(&daemon, arguments).await;
        assert_eq!((asked.code, &*asked.stdout), (Some(4), ""), "{asked:?}");
        assert!(asked.stderr.starts_with("gemmactl: "), "{asked:?}");
    }
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let bus = Bus::start().await.unwrap();
    let setup = Daemon::setup(&bus)
        .set("engine", "parallel", 1)
        .set("engine", "queue", 0);
    let daemon = setup.start().await.unwrap();
    let mut long = Gemmactl::start(&daemon, &LONG);
    long.begins_to_answer().await;
    let asked = Gemmactl::run(&daemon, &["ask", QUESTION]).await;
    assert_eq!((asked.code, &*asked.stdout), (Some(4), ""), "{asked:?}");
}

#[tokio::test]
async fn signals_cancel_the_answer_in_the_daemon() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut long = Gemmactl::start(&daemon, &LONG);
        long.begins_to_answer().await;
        long.signal(signal);
        let ended = long.end().await;
        assert_eq!((ended.code, &*ended.stderr), (Some(code), ""));
        idle(&daemon).await;
    }
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly_and_cancels_the_answer() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let mut long = Gemmactl::start(&daemon, &LONG);
    long.begins_to_answer().await;
    long.close_output();
    let ended = long.end().await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    idle(&daemon).await;
}

#[tokio::test]
async fn a_daemon_that_stops_in_the_middle_of_an_answer_is_a_failure() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let mut long = Gemmactl::start(&daemon, &LONG);
    long.begins_to_answer().await;
    stop(daemon).await;
    let ended = long.end().await;
    assert!(matches!(ended.code, Some(3 | 130)), "{ended:?}");
    assert!(ended.stderr.starts_with("gemmactl: "), "{ended:?}");
}

async fn stop(daemon: Daemon) {
    assert!(daemon.stop().await.unwrap().success());
}
