//! A tool call and its result.

use std::collections::BTreeMap;

/// A tool call of the model, with its result.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments, by name.
    pub arguments: BTreeMap<String, serde_json::Value>,
    /// What the tool returned, or why it failed. Plain text: control tokens in it have no effect.
    pub result: Result<String, String>,
}
