//! The rooms of the daemon know only the rooms that `docs/architecture.md` lets them know.

use std::{fs, path::Path};

use xtask::command::root;

/// The rooms of the daemon and their storeys. A room may use those on storeys below its own, and none beside it.
const ROOMS: [(&str, u8); 9] = [
    ("bus", 6),
    ("assistant", 5),
    ("commands", 4),
    ("engine", 3),
    ("listen", 3),
    ("speak", 3),
    ("sound", 2),
    ("config", 1),
    ("platform", 0),
];

/// Paths that only the files of some rooms may mention.
const RESERVED: [(&str, &[&str]); 6] = [
    ("gemmad_api", &["bus"]),
    ("llama_cpp", &["engine"]),
    ("cpal::", &["sound"]),
    ("zbus::", &["bus", "commands"]),
    ("crate::listen", &["bus", "assistant", "listen"]),
    ("crate::speak", &["bus", "assistant", "speak"]),
];

/// The paths that the files of a room must not mention.
fn strangers(room: &str, storey: u8) -> Vec<String> {
    let rooms = ROOMS.iter();
    let others = rooms.filter(|(other, above)| *other != room && *above >= storey);
    let reserved = RESERVED.iter().filter(|(_, rooms)| !rooms.contains(&room));
    let others = others.map(|(other, _)| format!("crate::{other}"));
    others
        .chain(reserved.map(|(path, _)| (*path).to_owned()))
        .collect()
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
    let found = ROOMS.map(|(room, storey)| mentions(&rooms.join(room), &strangers(room, storey)));
    let found = found.concat();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
