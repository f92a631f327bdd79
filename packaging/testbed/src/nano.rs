//! A question and a command that the nano model is known to understand, and a conversation with it.

/// A question, spoken or typed.
pub const QUESTION: &str = "how are you";

/// The model's answer to it.
pub const ANSWER: &str = "I am fine, thank you.";

/// The model's transcript of it.
pub const TRANSCRIPT: &str = "How are you?";

/// A command, spoken or typed.
pub const COMMAND: &str = "turn on the kitchen light";

/// The model's call for it, in its protocol.
pub const CALL: &str =
    r#"<|tool_call>call:set_light{room:<|"|>kitchen<|"|>,state:<|"|>on<|"|>}<tool_call|>"#;

/// A person's side of a conversation of ten turns.
pub const SAID: [&str; 10] = [
    "turn on the kitchen light",
    "what can you do",
    "set a timer for ten minutes",
    "how are you",
    "turn off the light in the bathroom please",
    "what time is it",
    "make it warmer in the living room",
    "tell me everything",
    "is it going to rain tomorrow",
    "thank you, that is all",
];
