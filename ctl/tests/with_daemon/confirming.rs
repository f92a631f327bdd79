//! Commands that are confirmed at the terminal.

use std::path::Path;

use futures_util::StreamExt;
use gemmad_api::{CommandsProxy, InvocationStatus};
use gemmad_testbed::{Bus, Daemon, Signal};

use crate::gemmactl::{Gemmactl, Terminal};
use crate::within;

const CALL: &str = "call_contact {\"contact\":\"Anna\"}";

async fn daemon(bus: &Bus) -> Daemon {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands");
    let setup = Daemon::setup(bus).commands(Path::new(folder));
    setup.start().await.unwrap()
}

#[tokio::test]
async fn the_question_at_the_terminal_names_the_command() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    for (answer, code, done) in [("y", 0, true), ("n", 5, false), ("", 5, false)] {
        let terminal = Terminal::open();
        let arguments = ["command", "--json", "call Anna"];
        let mut asking = Gemmactl::start_with(&daemon, &arguments, terminal.line());
        assert_eq!(asking.remark().await, format!("Do {CALL}? [y/N]\n"));
        terminal.types(answer);
        let ended = asking.end().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let status = if done { "\"done\"" } else { "\"refused\"" };
        assert!(ended.stdout.contains(status), "{ended:?}");
    }
}

#[tokio::test]
async fn one_yes_is_for_all_commands_that_the_question_named() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let robot = include_str!("../../../configs/commands/robot.toml");
    let robot = robot.replace("[commands.turn]\n", "[commands.turn]\nconfirm = true\n");
    std::fs::write(folder.path().join("robot.toml"), robot).unwrap();
    let setup = Daemon::setup(&bus).commands(folder.path());
    let daemon = setup.start().await.unwrap();
    let both = "turn left and turn right";

    let confirmed = Gemmactl::run(&daemon, &["command", "--yes", both]).await;
    assert_eq!(confirmed.code, Some(0), "{confirmed:?}");

    let terminal = Terminal::open();
    let mut asking = Gemmactl::start_with(&daemon, &["command", "--json", both], terminal.line());
    assert!(asking.remark().await.contains(", then turn "));
    terminal.types("y");
    let ended = asking.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.matches("\"done\"").count(), 2, "{ended:?}");
}

#[tokio::test]
async fn a_command_that_is_halted_is_no_longer_asked_about() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let terminal = Terminal::open();
    let mut asking = Gemmactl::start_with(&daemon, &["command", "call Anna"], terminal.line());
    assert!(asking.remark().await.starts_with("Do "));
    assert_eq!(Gemmactl::run(&daemon, &["halt"]).await.code, Some(0));
    let ended = asking.end().await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.stderr.contains("gemmactl: cancelled"), "{ended:?}");
}

#[tokio::test]
async fn without_a_terminal_it_is_told_how_to_confirm() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let refused = Gemmactl::run(&daemon, &["command", "call Anna"]).await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains(CALL), "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    // Nothing waits any more.
    assert!(refused.stdout.contains("(refused)"), "{refused:?}");
}

#[tokio::test]
async fn a_question_that_is_interrupted_is_a_no() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
    let mut dropped = commands.receive_dropped().await.unwrap();
    let terminal = Terminal::open();
    let mut asking = Gemmactl::start_with(&daemon, &["command", "call Anna"], terminal.line());
    assert!(asking.remark().await.starts_with("Do "));
    asking.signal(Signal::INT);
    let ended = asking.end().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let signal = within(dropped.next()).await.unwrap();
    let status = signal.args().unwrap().status;
    assert_eq!(status, InvocationStatus::Refused);
}
