//! `gemmactl status`.

use gemmad_api::ManagerState;
use gemmad_testbed::{Bus, Daemon};

use crate::gemmactl::Gemmactl;

#[tokio::test]
async fn status_names_the_model_and_its_cells() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let status = Gemmactl::run(&daemon, &["status"]).await;
    assert_eq!((status.code, &*status.stderr), (Some(0), ""));
    assert!(
        status.stdout.starts_with("state       ready\n"),
        "{status:?}"
    );
    assert!(status.stdout.contains(" of 4096 cells"), "{status:?}");

    let status = Gemmactl::run(&daemon, &["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["state"], "ready");
    assert_ne!(status["model"], "");
    assert_eq!(status["voice"]["state"], "off");
}

#[tokio::test]
async fn status_answers_while_the_model_loads() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus)
        .until(ManagerState::Loading)
        .start()
        .await
        .unwrap();
    let status = Gemmactl::run(&daemon, &["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    // A question asked meanwhile waits for the model.
    let asked = Gemmactl::run(&daemon, &["ask", crate::QUESTION]).await;
    assert_eq!(
        (asked.code, &*asked.stdout),
        (Some(0), crate::ANSWER.as_str())
    );
}

#[tokio::test]
async fn a_daemon_without_its_model_says_what_is_wrong() {
    let bus = Bus::start().await.unwrap();
    let setup = Daemon::setup(&bus).set("model", "text", "/nonexistent.gguf");
    let daemon = setup.until(ManagerState::Degraded).start().await.unwrap();
    let status = Gemmactl::run(&daemon, &["status"]).await;
    assert_eq!(status.code, Some(0));
    assert!(
        status.stdout.starts_with("state       degraded\n"),
        "{status:?}"
    );
    assert!(status.stdout.contains("\nproblem     "), "{status:?}");
    assert!(status.stdout.contains("/nonexistent.gguf"), "{status:?}");

    let asked = Gemmactl::run(&daemon, &["ask", "Hello"]).await;
    assert_eq!((asked.code, &*asked.stdout), (Some(4), ""), "{asked:?}");
}
