//! A command whose action is to be run, its timeout, and the limit of its output.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::commands::timers::Timers;
use crate::commands::{Call, Origin, Talk};
use crate::platform::environment::Environment;

/// A command whose action is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The command's number.
    pub id: u64,
    /// The command.
    pub call: &'a Call,
    /// Where it came from.
    pub origin: &'a Origin,
    /// Environment variables of programs.
    pub environment: &'a Environment,
    /// Timers and alarms.
    pub timers: &'a Timers,
    /// The conversation of the spoken turns.
    pub talk: &'a dyn Talk,
}

/// Timeout of an action: 1 ms to 1 h, 10 s by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Timeout(pub Duration);

/// Most bytes that are kept of an action's output: up to 65536, 4096 by default. The rest is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Output(pub usize);

impl Job<'_> {
    /// The whole command as one line of JSON: number, name, arguments and origin.
    pub fn json(&self) -> String {
        let mut told = json!({
            "id": self.id,
            "command": self.call.name,
            "arguments": self.call.arguments,
        });
        let (origin, key, value) = match self.origin {
            Origin::Text { user } => ("text", "user", Some(Value::from(user.as_str()))),
            Origin::Voice { utterance } => ("voice", "utterance", utterance.map(Value::from)),
            Origin::Daemon => ("daemon", "", None),
        };
        told["origin"] = origin.into();
        if let Some(value) = value {
            told[key] = value;
        }
        told.to_string()
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl TryFrom<u32> for Timeout {
    type Error = String;

    fn try_from(milliseconds: u32) -> Result<Self, String> {
        const MOST: u32 = 3_600_000;
        if (1..=MOST).contains(&milliseconds) {
            Ok(Self(Duration::from_millis(milliseconds.into())))
        } else {
            Err(format!("`timeout_ms` is 1 to {MOST}, an hour"))
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self(4096)
    }
}

impl TryFrom<usize> for Output {
    type Error = String;

    fn try_from(bytes: usize) -> Result<Self, String> {
        const MOST: usize = 65536;
        if bytes <= MOST {
            Ok(Self(bytes))
        } else {
            Err(format!("`output` is at most {MOST} bytes"))
        }
    }
}

impl Output {
    /// The part of `said` that is kept, fit to be displayed, without surrounding white space.
    pub fn keep(self, said: &[u8]) -> String {
        let kept = String::from_utf8_lossy(&said[..said.len().min(self.0)]);
        let kept = gemmad_text::lines(&kept, usize::MAX);
        let mut kept = kept.trim();
        if said.len() >= self.0 {
            // The cut may have split a character.
            kept = kept.trim_end_matches(char::REPLACEMENT_CHARACTER);
        }
        kept.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_text_and_no_half_of_a_character() {
        assert_eq!(
            Output(4096).keep(b" \x1b[2Jon\xff\n"),
            "\u{fffd}[2Jon\u{fffd}"
        );
        assert_eq!(Output(4096).keep("on\u{202E}ffo".as_bytes()), "onffo");
        assert_eq!(Output(4).keep("äää".as_bytes()), "ää");
        assert_eq!(Output(5).keep("äää".as_bytes()), "ää");
        assert_eq!(Output(0).keep(b"x"), "");
    }
}
