//! The bus on which `gemmactl` finds the daemon.

use std::path::Path;

use gemmad_testbed::{Binaries, Bus, Daemon, Model, no_microphone};

use crate::gemmactl::{Ended, Gemmactl};

/// Runs `gemmactl` where `system` is the system bus and `session` the session bus.
async fn run(system: &Bus, session: &Bus, arguments: &[&str]) -> Ended {
    start(system, session, arguments).end().await
}

fn start(system: &Bus, session: &Bus, arguments: &[&str]) -> Gemmactl {
    let program = Binaries::of_this_build().unwrap().path("gemmactl").unwrap();
    let mut command = std::process::Command::new(program);
    command
        .env("DBUS_SYSTEM_BUS_ADDRESS", system.address())
        .env("DBUS_SESSION_BUS_ADDRESS", session.address());
    Gemmactl::of(command, arguments)
}

/// Starts a daemon on `bus`. It takes it for its session bus, even if the test uses it as the system bus.
async fn start_on(bus: &Bus, model: &str) -> Daemon {
    let setup = Daemon::setup(bus).set("model", "text", format!("/nonexistent/{model}.gguf"));
    let degraded = gemmad_api::ManagerState::Degraded;
    setup.until(degraded).start().await.unwrap()
}

#[tokio::test]
async fn the_daemon_is_found_on_the_bus_that_it_is_on() {
    let (system, session) = (Bus::start().await.unwrap(), Bus::start().await.unwrap());
    let of_user = start_on(&session, "user").await;
    let found = run(&system, &session, &["status"]).await;
    assert!(found.stdout.contains("/nonexistent/user.gguf"), "{found:?}");

    let _of_machine = start_on(&system, "machine").await;
    let found = run(&system, &session, &["status"]).await;
    assert!(found.stdout.contains("/machine.gguf"), "{found:?}");

    assert!(of_user.stop().await.unwrap().success());
    let found = run(&system, &session, &["status"]).await;
    assert!(found.stdout.contains("/machine.gguf"), "{found:?}");
}

#[tokio::test]
async fn an_option_looks_on_one_bus_only() {
    let (system, session) = (Bus::start().await.unwrap(), Bus::start().await.unwrap());
    let of_user = start_on(&session, "user").await;
    let missed = run(&system, &session, &["status", "--system"]).await;
    assert_eq!((missed.code, &*missed.stdout), (Some(3), ""), "{missed:?}");
    assert!(missed.stderr.contains("not running on the system bus"));

    let _of_machine = start_on(&system, "machine").await;
    let found = run(&system, &session, &["status", "--session"]).await;
    assert!(found.stdout.contains("/user.gguf"), "{found:?}");
    assert!(of_user.stop().await.unwrap().success());
    let missed = run(&system, &session, &["status", "--session"]).await;
    assert_eq!((missed.code, &*missed.stdout), (Some(3), ""), "{missed:?}");
    assert!(missed.stderr.contains("not running on the session bus"));
}

#[tokio::test]
async fn a_daemon_that_leaves_has_its_log_on_the_bus_that_it_was_on() {
    let (system, session) = (Bus::start().await.unwrap(), Bus::start().await.unwrap());
    for (bus, log, other) in [
        (&session, "`journalctl --user --unit gemmad`", "sudo"),
        (&system, "`sudo journalctl --unit gemmad`", "--user"),
    ] {
        let daemon = start_on(bus, "any").await;
        let mut listening = start(&system, &session, &["listen"]);
        assert_eq!(listening.remark().await, "no microphone is open\n");
        assert!(daemon.stop().await.unwrap().success());
        let ended = listening.end().await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.contains(log), "{ended:?}");
        assert!(!ended.stderr.contains(other), "{ended:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_runs_nowhere_is_started_where_the_bus_can() {
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("<servicedir>{}</servicedir>", folder.path().display());
    let (system, session) = (
        Bus::start_with(&rules).await.unwrap(),
        Bus::start().await.unwrap(),
    );
    activatable(folder.path(), &system).await;
    for arguments in [&["status"][..], &["ask", crate::QUESTION, "--system"]] {
        let done = run(&system, &session, arguments).await;
        assert_eq!(done.code, Some(0), "{done:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_the_bus_cannot_start_is_said_not_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("<servicedir>{}</servicedir>", folder.path().display());
    let (system, session) = (
        Bus::start_with(&rules).await.unwrap(),
        Bus::start().await.unwrap(),
    );
    service(folder.path(), &system, "/bin/false").await;
    let done = run(&system, &session, &["status"]).await;
    assert_eq!((done.code, &*done.stdout), (Some(3), ""), "{done:?}");
    assert!(done.stderr.contains("systemctl start gemmad"), "{done:?}");
}

/// Makes the real daemon startable by `bus`, which looks for services in `folder`.
async fn activatable(folder: &Path, bus: &Bus) {
    let config = folder.join("gemmad.toml");
    let Model { text, mmproj } = Model::nano();
    let lines = format!(
        "[model]\ntext = '{}'\nmmproj = '{}'\n[engine]\nthreads = 1\n\
         [answer]\ntemperature = 0.0\n[voice]\nmode = \"off\"\n",
        text.display(),
        mmproj.display()
    );
    std::fs::write(&config, lines).unwrap();
    let mut words = vec!["/usr/bin/env".to_owned()];
    for (name, value) in no_microphone() {
        words.push(format!("{name}={}", value.to_str().unwrap()));
    }
    words.push(format!("DBUS_SYSTEM_BUS_ADDRESS={}", bus.address()));
    let gemmad = Binaries::of_this_build().unwrap().path("gemmad").unwrap();
    words.extend([gemmad.display().to_string(), "--config".into()]);
    words.push(config.display().to_string());
    service(folder, bus, &words.join(" ")).await;
}

/// Writes a service file and makes the bus read it. The bus has started before, because the service needs its address.
async fn service(folder: &Path, bus: &Bus, exec: &str) {
    let text = format!("[D-BUS Service]\nName=org.gemmad1\nExec={exec}\nUser=root\n");
    std::fs::write(folder.join("org.gemmad1.service"), text).unwrap();
    bus.reload().await.unwrap();
}
