//! What the nano model is known to understand.

/// A command.
pub const COMMAND: &str = "turn on the kitchen light";

/// What it answers to it, spoken or typed.
pub const ANSWER: &str =
    r#"<|tool_call>call:set_light{room:<|"|>kitchen<|"|>,state:<|"|>on<|"|>}<tool_call|>"#;

/// How it writes it down.
pub const TRANSCRIPT: &str = "Turn on the kitchen light.";
