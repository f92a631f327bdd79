//! `gemmactl models`, and a `[model]` that is changed by a reload.

use gemmad_testbed::{Bus, Daemon};

use crate::gemmactl::Gemmactl;

#[tokio::test]
async fn a_question_loads_a_model_that_was_unloaded() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    for _ in 0..2 {
        let unloaded = Gemmactl::run(&daemon, &["models", "unload"]).await;
        assert_eq!((unloaded.code, &*unloaded.stdout), (Some(0), ""));
        let status = Gemmactl::run(&daemon, &["status"]).await.stdout;
        assert!(status.starts_with("state       unloaded\n"), "{status}");
        assert!(status.contains("\nmodel       none\n"), "{status}");
        let asked = Gemmactl::run(&daemon, &["ask", crate::QUESTION]).await;
        assert_eq!((asked.code, asked.stdout), (Some(0), crate::ANSWER.clone()));
    }
    let loaded = Gemmactl::run(&daemon, &["models", "load"]).await;
    assert_eq!((loaded.code, &*loaded.stderr), (Some(0), ""));
}

#[tokio::test]
async fn a_changed_model_is_loaded_without_a_restart_and_one_that_is_none_is_refused() {
    let bus = Bus::start().await.unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    daemon.write("model", "mmproj", "").unwrap();
    let reloaded = Gemmactl::run(&daemon, &["reload"]).await;
    assert_eq!(reloaded.stdout, "in force: model.mmproj\n", "{reloaded:?}");
    let asked = Gemmactl::run(&daemon, &["ask", crate::QUESTION]).await;
    assert_eq!((asked.code, asked.stdout), (Some(0), crate::ANSWER.clone()));

    // Files that are no model change nothing.
    let nothing = tempfile::NamedTempFile::new().unwrap();
    let nothing = nothing.path().to_str().unwrap();
    daemon.write("model", "text", nothing).unwrap();
    let refused = Gemmactl::run(&daemon, &["reload"]).await;
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains(nothing), "{refused:?}");
    let asked = Gemmactl::run(&daemon, &["ask", crate::QUESTION]).await;
    assert_eq!((asked.code, asked.stdout), (Some(0), crate::ANSWER.clone()));
}
