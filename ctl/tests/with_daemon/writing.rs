//! Output of `gemmactl`, and its cleaning for a terminal.

use gemmad_api::ManagerState;
use gemmad_testbed::{Bus, Daemon};

use crate::{QUESTION, gemmactl::Gemmactl};

#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let gemmactl = daemon.gemmactl().unwrap();
    for line in [
        format!("ask '{QUESTION}'"),
        format!("ask --json '{QUESTION}'"),
        "status".into(),
        "reload --json".into(),
        "--help".into(),
        "ask --help".into(),
        "--version".into(),
    ] {
        // A closed standard output is not tested: Rust's runtime opens /dev/null in its place before `main`.
        let mut shell = std::process::Command::new("sh");
        for (name, value) in gemmactl.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let program = gemmactl.get_program().to_str().unwrap();
        let script = format!("'{program}' --session {line} >/dev/full");
        let done = Gemmactl::of(shell, &["-c", &script]).end().await;
        assert_eq!(done.code, Some(1), "{script}: {done:?}");
        assert!(done.stderr.contains("No space left"), "{script}: {done:?}");
    }
}

#[tokio::test]
async fn a_terminal_shows_no_character_that_makes_one_text_look_like_another() {
    let bus = Bus::start().await.unwrap();
    let missing = "/nonexistent/\u{1B}[2J\u{202E}\u{2066}\u{E0041}.gguf";
    let setup = Daemon::setup(&bus).set("model", "text", missing);
    let daemon = setup.until(ManagerState::Degraded).start().await.unwrap();
    let shown = Gemmactl::run_on_terminal(&daemon, &["status"]).await;
    assert!(shown.contains("/nonexistent/"), "{shown:?}");
    for character in ['\u{1B}', '\u{202E}', '\u{2066}', '\u{E0041}'] {
        assert!(!shown.contains(character), "{shown:?}");
    }
}
