//! The daemon as a service: its messages to the service manager, and changes of its configuration while it
//! runs.

use std::time::Duration;

use gemmad_api::{AskOptions, Error, ManagerState};
use gemmad_testbed::{Bus, Daemon, Signal, nano};
use tokio::net::UnixDatagram;

/// A service manager's notification socket.
struct ServiceManager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl ServiceManager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { folder, socket }
    }

    fn address(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    /// All lines up to and including the first message with the line `wanted`.
    async fn until(&self, wanted: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.iter().any(|line| line == wanted) {
            let mut buffer = [0; 4096];
            let heard = self.socket.recv(&mut buffer);
            let length = tokio::time::timeout(Duration::from_mins(1), heard)
                .await
                .unwrap_or_else(|_| panic!("no {wanted} in {lines:#?}"))
                .unwrap();
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            lines.extend(message.lines().map(str::to_owned));
        }
        lines
    }
}

fn holds(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

#[tokio::test]
async fn the_service_manager_hears_of_loading_ready_the_watchdog_reloads_and_the_end() {
    let bus = Bus::start().await.unwrap();
    let systemd = ServiceManager::new();
    let mut daemon = Daemon::setup(&bus)
        .env("NOTIFY_SOCKET", systemd.address())
        .env("WATCHDOG_USEC", "200000")
        .start()
        .await
        .unwrap();
    let start = systemd.until("READY=1").await;
    assert!(holds(&start, "STATUS=loading "), "{start:#?}");
    assert!(holds(&start, "EXTEND_TIMEOUT_USEC="), "{start:#?}");
    assert!(holds(&start, "STATUS=ready, "), "{start:#?}");
    systemd.until("WATCHDOG=1").await;

    // The watchdog is also fed between the batches of a long answer.
    let endless = AskOptions {
        max_tokens: Some(100_000),
        min_tokens: Some(100_000),
        ..AskOptions::default()
    };
    let (_reader, writer) = std::io::pipe().unwrap();
    let manager = daemon.manager().clone();
    manager
        .stream("Go on.", endless, (&writer).into())
        .await
        .unwrap();
    systemd.until("WATCHDOG=1").await;
    systemd.until("WATCHDOG=1").await;

    daemon.signal(Signal::HUP);
    let reload = systemd.until("RELOADING=1").await;
    assert!(holds(&reload, "MONOTONIC_USEC="), "{reload:#?}");
    systemd.until("READY=1").await;

    daemon.signal(Signal::TERM);
    systemd.until("STOPPING=1").await;
    assert!(daemon.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_daemon_without_a_model_is_up_and_says_why_it_is_of_no_use() {
    let bus = Bus::start().await.unwrap();
    let systemd = ServiceManager::new();
    let _daemon = Daemon::setup(&bus)
        .env("NOTIFY_SOCKET", systemd.address())
        .set("model", "text", "/nonexistent.gguf")
        .until(ManagerState::Degraded)
        .start()
        .await
        .unwrap();
    let start = systemd.until("READY=1").await;
    let status = start
        .iter()
        .find(|line| line.starts_with("STATUS=degraded: "));
    assert!(status.unwrap().contains("/nonexistent.gguf"), "{start:#?}");
}

#[tokio::test]
async fn a_reload_names_what_is_in_force_and_what_needs_a_restart() {
    let bus = Bus::start().await.unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    let manager = daemon.manager().clone();
    assert_eq!(manager.reload().await.unwrap(), (vec![], vec![]));

    daemon.write("answer", "max_tokens", 1).unwrap();
    daemon.write("answer", "system", "Be brief.").unwrap();
    daemon.write("engine", "context", 1024).unwrap();
    let (mut changed, pending) = manager.reload().await.unwrap();
    changed.sort();
    assert_eq!(changed, ["answer.max_tokens", "answer.system"]);
    assert_eq!(pending, ["engine.context"]);

    let ask = || manager.ask(nano::QUESTION, AskOptions::default());
    let (_, stats) = ask().await.unwrap();
    let stats: gemmad_api::Stats = gemmad_api::from_dict(&stats).unwrap();
    assert_eq!(stats.output_tokens, 1);
    // The new system prompt is kept in the KV cache, like the one from the start.
    let (_, stats) = ask().await.unwrap();
    let stats: gemmad_api::Stats = gemmad_api::from_dict(&stats).unwrap();
    assert!(stats.cached_tokens > 3, "{stats:?}");
}

#[tokio::test]
async fn a_broken_configuration_is_refused_by_name_and_place_and_changes_nothing() {
    let bus = Bus::start().await.unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    let manager = daemon.manager().clone();
    daemon.write("answer", "max_tokens", 0).unwrap();
    let Err(Error::InvalidConfiguration(message)) = manager.reload().await else {
        panic!()
    };
    assert!(
        message.contains("answer.max_tokens: 0 is out of range"),
        "{message}"
    );
    manager
        .ask(nano::QUESTION, AskOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_daemon_that_is_asked_to_end_while_it_answers_ends_in_order() {
    let bus = Bus::start().await.unwrap();
    let answering = Daemon::setup(&bus).start().await.unwrap();
    let endless = AskOptions {
        max_tokens: Some(100_000),
        min_tokens: Some(100_000),
        ..AskOptions::default()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    let manager = answering.manager().clone();
    manager
        .stream("Go on.", endless, (&writer).into())
        .await
        .unwrap();
    drop(writer);
    assert!(answering.stop().await.unwrap().success());
    let said = std::io::read_to_string(reader).unwrap();
    assert!(said.lines().last().unwrap().contains("Cancelled"), "{said}");
}
