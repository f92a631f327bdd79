//! A tool call and its result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A tool call of the model, with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments, by name.
    pub arguments: BTreeMap<String, serde_json::Value>,
    /// What the tool returned, or why it failed. Plain text: control tokens in it have no effect.
    pub result: Result<String, String>,
}

impl ToolCall {
    /// Bytes of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let (Ok(result) | Err(result)) = &self.result;
        let arguments = self.arguments.iter();
        let arguments = arguments.map(|(name, value)| name.len() + value.to_string().len());
        self.name.len() + arguments.sum::<usize>() + result.len()
    }
}
