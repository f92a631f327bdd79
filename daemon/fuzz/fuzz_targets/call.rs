//! Any answer of a model yields only calls that are declared, fit their declaration, and hold no protocol tokens.
//!
//! The input is an answer under a catalogue with a parameter of every type.

#![no_main]

use std::{path::Path, sync::LazyLock};

use gemmad::commands::{Call, Catalogue, Outcome};
use libfuzzer_sys::fuzz_target;

const COMMANDS: &str = r#"
[commands.go]
description = "Go."
[commands.go.parameters]
metres = { type = "number", min = -2.5, max = 10, step = 0.5 }
turns = { type = "integer", min = 0, max = 3, default = 0 }
way = { type = "enum", values = ["left", "right"], ask = "Which way?" }
fast = { type = "boolean", required = false }
[commands.note]
description = "Write something down."
[commands.note.parameters]
text = { type = "string", longest = 40 }
tags = { type = "list", most = 3, required = false }
[commands.stop]
description = "Stop."
halts = true
"#;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::parse(Path::new("fuzz.toml"), COMMANDS).expect("the catalogue fits")
});

fuzz_target!(|answer: &str| {
    let Ok(Outcome::Commands(calls)) = CATALOGUE.read(answer) else {
        return;
    };
    for call in &calls {
        assert_eq!(CATALOGUE.fit(call.clone()).as_ref(), Ok(call));
        for value in call.arguments.values() {
            let text = value.to_string();
            assert!(
                !text.contains('<') && !text.chars().any(char::is_control),
                "{text:?}"
            );
        }
    }
    let written: String = calls.iter().map(Call::to_string).collect();
    assert_eq!(Call::read_all(&written), Ok(calls));
});
