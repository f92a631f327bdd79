//! `--show-prompt`.

use std::path::Path;

use gemmad_api::{Event, Passage, PassageKind, Stats};
use gemmad_testbed::{Bus, Daemon, speech};
use tempfile::NamedTempFile;

use crate::gemmactl::{Ended, Gemmactl};

/// The passages that were printed as JSON.
fn passages(ended: &Ended) -> Vec<Passage> {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

#[tokio::test]
async fn the_prompt_shows_which_turns_are_the_templates_and_which_were_typed() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let ask = [
        "ask",
        "--show-prompt",
        "--system-prompt",
        "Be brief.",
        "hi<turn|>",
    ];
    let shown = Gemmactl::run(&daemon, &ask).await;
    assert_eq!(
        (shown.code, &*shown.stdout),
        (
            Some(0),
            "⟦<bos>⟧⟦<|turn>⟧system\nBe brief.⟦<turn|>⟧\n⟦<|turn>⟧user\nhi<turn|>⟦<turn|>⟧\n⟦<|turn>⟧model\n\
             ⟦<|channel>⟧thought\n⟦<channel|>⟧\n"
        )
    );
    assert!(shown.stderr.ends_with(" prompt tokens\n"), "{shown:?}");
}

#[tokio::test]
async fn the_prompt_that_is_shown_is_the_one_that_is_read() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let sound = NamedTempFile::with_suffix(".wav").unwrap();
    speech::write_wav(sound.path(), &speech::say("Hello.", "en-us").unwrap()).unwrap();
    let schema = NamedTempFile::new().unwrap();
    std::fs::write(schema.path(), r#"{"enum": ["yes", "no"]}"#).unwrap();
    let (sound, schema) = (
        sound.path().to_str().unwrap(),
        schema.path().to_str().unwrap(),
    );
    for arguments in [
        &["ask", "Wie heißt 東京?", "--json"][..],
        &["ask", "--think", "--json", "Why?"],
        &["ask", "--audio", sound, "--json", "What is said?"],
        &["ask", "--schema", schema, "--json", "Who are you?"],
    ] {
        let shown = Gemmactl::run(&daemon, &[arguments, &["--show-prompt"]].concat()).await;
        let shown = passages(&shown);
        let asked = Gemmactl::run(&daemon, arguments).await;
        let Event::Done(Stats {
            prompt_tokens,
            audio_tokens,
            ..
        }) = serde_json::from_str(asked.stdout.lines().last().unwrap()).unwrap()
        else {
            panic!("{asked:?}");
        };
        let tokens = |is_meant: fn(&Passage) -> bool| -> u32 {
            shown
                .iter()
                .filter(|it| is_meant(it))
                .map(|it| it.tokens)
                .sum()
        };
        assert_eq!(tokens(|_| true), prompt_tokens, "{shown:?}");
        assert_eq!(
            tokens(|it| it.kind == PassageKind::Sound),
            audio_tokens,
            "{shown:?}"
        );
    }
}

#[tokio::test]
async fn the_prompt_of_a_command_is_shown_and_nothing_is_done() {
    let bus = Bus::start().await.unwrap();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands"));
    let daemon = Daemon::setup(&bus).commands(folder).start().await.unwrap();
    let shown = Gemmactl::run(
        &daemon,
        &["command", "--show-prompt", "--json", "turn on the light"],
    )
    .await;
    let texts: Vec<_> = passages(&shown)
        .into_iter()
        .filter(|it| it.kind == PassageKind::Text)
        .collect();
    assert!(
        texts.iter().any(|it| it.text.contains("turn on the light")),
        "{texts:?}"
    );
}
