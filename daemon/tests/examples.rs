//! The programs of `docs/examples` beside the real daemon on a real bus.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use gemmad_api::{CommandsProxy, InvokeOptions};
use gemmad_testbed::{Bus, Daemon, nano};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Starts an example, waits until it prints `ready`, and returns the line that it prints about a command.
async fn act(program: &str, example: &str, ready: &str) -> String {
    let bus = Bus::start().await.unwrap();
    let catalogue = repository().join("configs/commands");
    let daemon = Daemon::setup(&bus).commands(&catalogue);
    let daemon = daemon.start().await.unwrap();
    let mut example = Command::new(program)
        .arg(repository().join("docs/examples").join(example))
        .arg("--user")
        .envs(bus.env())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut complaints = BufReader::new(example.stderr.take().unwrap()).lines();
    let said = complaints.next_line().await.unwrap().unwrap_or_default();
    assert!(said.contains(ready), "{said}");

    let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
    // A command that the example does not know, and one that it knows.
    for text in ["turn left", nano::COMMAND] {
        let options = InvokeOptions::default();
        let (_, _, invoked, _) = commands.invoke(text, options).await.unwrap();
        assert_eq!(invoked.len(), 1, "{text}");
    }
    let mut lines = BufReader::new(example.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn the_script_acts_on_a_command() {
    let acted = act("sh", "act.sh", "Monitoring bus").await;
    assert_eq!(acted, "the light in the kitchen is on");
}

#[tokio::test]
async fn the_python_program_acts_on_a_command() {
    // The interpreter for which Debian packages the bindings of GLib.
    let acted = act("/usr/bin/python3", "act.py", "waiting for commands").await;
    assert_eq!(acted, "the light in the kitchen is on");
}
