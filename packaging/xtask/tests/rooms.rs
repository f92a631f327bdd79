//! The rooms of the daemon know only the rooms that `docs/architecture.md` lets them know.

use std::{fs, path::Path};

use xtask::command::root;

/// The rooms that carry the daemon's work, from the top: each may use those below it.
const WORKERS: [&str; 6] = ["bus", "assistant", "commands", "engine", "listen", "speak"];

/// The rooms below them, which any room may use.
const TOOLS: [&str; 3] = ["sound", "config", "platform"];

/// The paths that the files of a room must not mention.
fn strangers(room: &str) -> Vec<String> {
    let others: &[&str] = match room {
        "bus" => &[],
        "assistant" => &["bus"],
        "commands" => &["bus", "assistant", "listen", "speak"],
        "engine" | "listen" | "speak" | "sound" => &WORKERS,
        "config" => &[
            "bus",
            "assistant",
            "commands",
            "engine",
            "listen",
            "speak",
            "sound",
        ],
        _ => &[
            "bus",
            "assistant",
            "commands",
            "engine",
            "listen",
            "speak",
            "sound",
            "config",
        ],
    };
    let others = others.iter().filter(|it| **it != room);
    let mut strangers: Vec<_> = others.map(|it| format!("crate::{it}")).collect();
    if room != "bus" {
        strangers.push("gemmad_api".into());
    }
    if room != "engine" {
        strangers.push("llama_cpp".into());
    }
    if room != "sound" {
        strangers.push("cpal::".into());
    }
    if !["bus", "commands"].contains(&room) {
        strangers.push("zbus::".into());
    }
    strangers
}

/// The lines below `folder` that mention one of `words`.
fn mentions(folder: &Path, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(mentions(&path, words));
            continue;
        }
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .filter(|line| words.iter().any(|it| line.contains(it.as_str())));
        found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
    }
    found
}

#[test]
fn no_room_of_the_daemon_mentions_one_that_it_must_not_know() {
    let rooms = root().join("daemon/src");
    let contract = ["gemmad_api".to_owned()];
    assert!(!mentions(&rooms.join("bus"), &contract).is_empty());
    let all = WORKERS.iter().chain(&TOOLS);
    let found = all.map(|room| mentions(&rooms.join(room), &strangers(room)));
    let found: Vec<_> = found.flatten().collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
