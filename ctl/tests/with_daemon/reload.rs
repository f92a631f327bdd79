//! `gemmactl reload`.

use gemmad_testbed::{Bus, Daemon};

use crate::gemmactl::Gemmactl;

#[tokio::test]
async fn reloading_says_what_is_in_force_and_what_waits() {
    let bus = Bus::start().await.unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    let unchanged = Gemmactl::run(&daemon, &["reload"]).await;
    assert_eq!(
        (unchanged.code, &*unchanged.stdout, &*unchanged.stderr),
        (Some(0), "nothing changed\n", "")
    );

    daemon.write("answer", "max_tokens", 7).unwrap();
    daemon.write("engine", "threads", 2).unwrap();
    let reloaded = Gemmactl::run(&daemon, &["reload"]).await;
    assert_eq!(
        (reloaded.code, &*reloaded.stdout),
        (
            Some(0),
            "in force: answer.max_tokens\nafter a restart: engine.threads\n"
        )
    );

    let json = Gemmactl::run(&daemon, &["reload", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["changed"], serde_json::json!([]));
    assert_eq!(json["pending"], serde_json::json!(["engine.threads"]));
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_is_refused_with_its_place() {
    let bus = Bus::start().await.unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    daemon.write("answer", "top_p", 3).unwrap();
    let refused = Gemmactl::run(&daemon, &["reload"]).await;
    assert_eq!(
        (refused.code, &*refused.stdout),
        (Some(4), ""),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("gemmad.toml:"), "{refused:?}");
    assert!(refused.stderr.contains("answer.top_p"), "{refused:?}");
}
