//! Any JSON Schema is refused with a reason, or constrains the answer to JSON of the type it names.
//!
//! The input is a schema and, after a NUL byte, the choice among the allowed tokens at each step.

#![no_main]

use std::sync::LazyLock;

use gemmad::engine::{Form, fuzzing::Nano};
use gemmad_fuzz::{assert_message, forgive, text_and_choices};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Maximum number of tokens sampled.
const DRAWN: usize = 64;

/// Crates of the grammar compiler, which panics on some schemas; the daemon catches that.
static COMPILER: [&str; 3] = ["/derivre-", "/llguidance-", "/toktrie-"];

static NANO: LazyLock<Nano> = LazyLock::new(|| {
    forgive(&COMPILER);
    // The model is part of the repository.
    Nano::load().expect("the nano model loads")
});

/// Whether JSON of this type may begin with this character.
fn begins(kind: &str, first: char) -> bool {
    match kind {
        "object" => first == '{',
        "array" => first == '[',
        "string" => first == '"',
        "number" | "integer" => first == '-' || first.is_ascii_digit(),
        "boolean" => matches!(first, 't' | 'f'),
        _ => first == 'n',
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((text, choices)) = text_and_choices(input) else {
        return;
    };
    let form = match Form::schema(text) {
        Ok(form) => form,
        Err(error) => return assert_message(&error.to_string()),
    };
    let choices = &choices[..choices.len().min(DRAWN)];
    let answer = match NANO.answer(&form, choices) {
        Ok(answer) => answer,
        Err(error) => return assert_message(&error.to_string()),
    };
    let (Some(answer), Form::Json(schema)) = (answer, form) else {
        return;
    };
    assert!(!answer.contains('\n'), "{answer:?}");
    // `IgnoredAny`, because numbers may exceed the range of every Rust type.
    let read = serde_json::from_str::<IgnoredAny>(&answer);
    assert!(read.is_ok(), "{answer:?}");
    if let Some(kind) = schema.get("type").and_then(Value::as_str) {
        let first = answer.trim_start().chars().next();
        assert!(first.is_some_and(|first| begins(kind, first)), "{answer:?}");
    }
});
