//! What a command does besides its signal: an action, run when the command is invoked.
//!
//! | file | an action that |
//! |---|---|
//! | `program` | runs a program |
//! | `method` | calls a method on D-Bus |
//! | `socket` | writes a line to a Unix socket |
//! | `http` | makes a request of a server on this machine |
//!
//! | file | owns |
//! |---|---|
//! | `text` | a text with parameters in it |
//! | `shape` | a value with parameters in it |
//! | `address` | an address with parameters in it |
//! | `token` | the secret that a server wants |
//!
//! Whoever may write the catalogue decides what runs here; whoever speaks or writes only chooses among what is
//! declared there. None of it goes through a shell.

mod address;
mod http;
mod method;
mod program;
mod shape;
mod socket;
mod text;
mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use gemmad_api::InvocationStatus;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Name, Origin, Parameter};
use crate::platform::environment::Environment;
use crate::platform::withheld::Withheld;
use http::Http;
use method::Method;
use program::Program;
use socket::Socket;
use text::Fixed;

/// What a command does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Runs a program.
    Program(Program),
    /// Calls a method on D-Bus.
    Method(Method),
    /// Writes a line to a Unix socket.
    Socket(Socket),
    /// Makes a request of a server on this machine.
    Http(Http),
}

/// Why an action did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// It said so, or could not begin.
    #[error("{why}")]
    Failed {
        /// Why.
        why: String,
        /// What the action said, or the value that does not fit.
        said: Withheld,
    },
    /// It took longer than it may.
    #[error("it took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Something that halts came while it ran.
    #[error("it was halted")]
    Halted,
}

/// A command whose action is to be run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    /// The command's number.
    pub id: u64,
    /// The command.
    pub call: &'a Call,
    /// Where it came from.
    pub origin: &'a Origin,
    /// Variables of programs.
    pub environment: &'a Environment,
}

/// How long an action may take, and how much of what it says is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
struct Timeout(Duration);

/// Most bytes that are kept of what an action says. The rest is read and thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
struct Output(usize);

/// A path that means the same wherever the daemon runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fixed")]
struct Absolute(PathBuf);

impl Action {
    /// Checks that it can be run whatever the values of these parameters are.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        match self {
            Self::Program(program) => program.check(parameters),
            Self::Method(method) => method.check(parameters),
            Self::Socket(_) => Ok(()),
            Self::Http(http) => http.check(parameters),
        }
    }

    /// Runs it to its end and returns what it says, unless it takes too long or `halted` comes first. While `halted`
    /// is ready no step of the work is made, not even the first.
    ///
    /// # Errors
    /// Why it did not do its work.
    pub(super) async fn run(
        &self,
        job: Job<'_>,
        halted: impl Future<Output = ()>,
    ) -> Result<String, ActionError> {
        let Timeout(timeout) = self.timeout();
        let mut stop = pin!(stop(timeout, halted));
        if let Some(why) = (&mut stop).now_or_never() {
            return Err(why);
        }
        match self {
            Self::Program(program) => program.run(job, stop).await,
            Self::Method(method) => unless(stop, method.run(job)).await,
            Self::Socket(socket) => unless(stop, socket.run(job)).await,
            Self::Http(http) => unless(stop, http.run(job)).await,
        }
    }

    fn timeout(&self) -> Timeout {
        match self {
            Self::Program(program) => program.timeout_ms,
            Self::Method(method) => method.timeout_ms,
            Self::Socket(socket) => socket.timeout_ms,
            Self::Http(http) => http.timeout_ms,
        }
    }
}

/// Waits for a reason to stop.
async fn stop(timeout: Duration, halted: impl Future<Output = ()>) -> ActionError {
    tokio::select! {
        () = halted => ActionError::Halted,
        () = tokio::time::sleep(timeout) => ActionError::TimedOut(timeout),
    }
}

/// Does `work`, or drops it when there is a reason to `stop`.
async fn unless(
    stop: impl Future<Output = ActionError>,
    work: impl Future<Output = Result<String, ActionError>>,
) -> Result<String, ActionError> {
    tokio::select! {
        biased;
        why = stop => Err(why),
        done = work => done,
    }
}

impl ActionError {
    /// Nothing was said about why.
    fn failed(why: impl Into<String>) -> Self {
        Self::Failed {
            why: why.into(),
            said: Withheld::default(),
        }
    }

    /// Why, with what was said, for the person who wanted it done.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Failed { why, said } if !said.reveal().is_empty() => {
                format!("{why}: {}", said.reveal())
            }
            error => error.to_string(),
        }
    }

    /// What became of the command.
    pub(super) fn status(&self) -> InvocationStatus {
        match self {
            Self::Failed { .. } => InvocationStatus::Failed,
            Self::TimedOut(_) => InvocationStatus::TimedOut,
            Self::Halted => InvocationStatus::Cancelled,
        }
    }
}

impl Job<'_> {
    /// All there is to know, as one line of JSON.
    fn json(&self) -> String {
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

impl TryFrom<Fixed> for Absolute {
    type Error = String;

    fn try_from(path: Fixed) -> Result<Self, String> {
        let path = PathBuf::from(path.as_str());
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(format!("{} is no path from the root", path.display()))
        }
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
    /// What is kept of `said`, as people may be shown it, without what surrounds it.
    fn keep(self, said: &[u8]) -> String {
        let kept = String::from_utf8_lossy(&said[..said.len().min(self.0)]);
        let kept = gemmad_api::text::lines(&kept, usize::MAX);
        let mut kept = kept.trim();
        if said.len() >= self.0 {
            // Half of a character may be left where it was cut.
            kept = kept.trim_end_matches(char::REPLACEMENT_CHARACTER);
        }
        kept.to_owned()
    }
}

/// What the tests of all actions begin with.
#[cfg(test)]
mod testing {
    use std::path::Path;

    use super::*;
    use crate::commands::Catalogue;

    /// A command with this action and parameters of every kind, or why there is none.
    pub(super) fn action(text: &str) -> Result<Action, String> {
        let text = format!(
            r#"
            [commands.test]
            description = "A test."
            {text}
            [commands.test.parameters]
            count = {{ type = "integer", min = 1, max = 300 }}
            angle = {{ type = "integer", min = -90, max = 90 }}
            word = {{ type = "string" }}
            way = {{ type = "enum", values = ["up", "down"] }}
            maybe = {{ type = "boolean", required = false }}
            many = {{ type = "list" }}
            "#
        );
        let catalogue = Catalogue::parse(Path::new("x.toml"), &text);
        let mut catalogue = catalogue.map_err(|error| error.to_string())?;
        let command = catalogue.commands.pop_first().unwrap().1;
        Ok(command.action.unwrap())
    }

    pub(super) fn call() -> Call {
        let arguments = json!({
            "count": 3, "angle": -5, "word": "-n $(id); 'x' \"y\" *", "way": "up", "many": ["a", "b"],
        });
        Call {
            name: "test".into(),
            arguments: serde_json::from_value(arguments).unwrap(),
        }
    }

    /// Runs an action with [`call`]'s arguments.
    pub(super) async fn run(text: &str) -> Result<String, ActionError> {
        run_until(text, std::future::pending()).await
    }

    /// The same, until something halts.
    pub(super) async fn run_until(
        text: &str,
        halted: impl Future<Output = ()>,
    ) -> Result<String, ActionError> {
        let job = Job {
            id: 7,
            call: &call(),
            origin: &Origin::Text {
                user: "anna".into(),
            },
            environment: &Environment::of_the_system(),
        };
        action(text).unwrap().run(job, halted).await
    }
}

#[cfg(test)]
mod tests {
    use super::Output;
    use super::testing::action;

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

    #[test]
    fn an_action_is_of_one_kind_and_its_keys_are_checked() {
        for (text, why) in [
            (
                "action.program = { run = [\"/bin/true\"], colour = 1 }",
                "colour: unknown field",
            ),
            (
                "action.shell = { run = [\"/bin/true\"] }",
                "unknown variant `shell`",
            ),
            ("action = \"signal\"", "action"),
            (
                "action.program = { run = [\"/bin/true\"] }\naction.socket = { path = \"/x\" }",
                "action",
            ),
            (
                "action.program = { run = [\"/bin/true\"], timeout_ms = 0 }",
                "`timeout_ms` is 1 to",
            ),
            (
                "action.program = { run = [\"/bin/true\"], output = 99999 }",
                "`output` is at most",
            ),
        ] {
            let refused = action(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
            assert!(refused.contains("x.toml:"), "{refused}");
        }
    }
}
