//! A command that the nano model is known to understand.

/// The command, spoken or typed.
pub const COMMAND: &str = "turn on the kitchen light";

/// The model's answer to it.
pub const ANSWER: &str =
    r#"<|tool_call>call:set_light{room:<|"|>kitchen<|"|>,state:<|"|>on<|"|>}<tool_call|>"#;

/// The model's transcript of it.
pub const TRANSCRIPT: &str = "Turn on the kitchen light.";
