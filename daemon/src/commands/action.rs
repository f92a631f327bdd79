//! The action of a command: what runs, besides its signal, when the command is invoked.
//!
//! | file | an action that |
//! |---|---|
//! | `program` | runs a program |
//! | `method` | calls a method on D-Bus |
//! | `socket` | writes a line to a Unix socket |
//! | `http` | makes a request of a server on this machine |
//! | `timer` | sets, cancels or reads timers and alarms |
//! | `clock` | tells the time or the date |
//! | `talk` | repeats or forgets what was said, or changes the volume of the assistant's voice |
//!
//! | file | owns |
//! |---|---|
//! | `job` | a command whose action is to be run |
//! | `error` | why an action failed |
//! | `text` | a text with parameters in it |
//! | `shape` | a value with parameters in it |
//! | `address` | an address with parameters in it |
//! | `absolute` | a path from the root |
//! | `token` | the bearer token of a server |
//!
//! The author of the catalogue decides what runs here. A speaker or a client only chooses among the declared
//! commands. Nothing goes through a shell.

mod absolute;
mod address;
mod clock;
mod error;
mod http;
mod job;
mod method;
mod program;
mod shape;
mod socket;
mod talk;
mod text;
mod timer;
mod token;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Deserialize;

use super::{Name, Parameter};
use clock::Clock;
use http::Http;
use job::Timeout;
use method::Method;
use program::Program;
use socket::Socket;
use talk::OfTalk;
use timer::OfTimer;

pub use error::ActionError;
pub use job::Job;
pub(super) use text::Text;

/// The action of a command.
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
    /// Sets, cancels or reads timers and alarms.
    Timer(OfTimer),
    /// Tells the time or the date.
    Clock(Clock),
    /// Repeats or forgets what was said, or changes the volume of the assistant's voice.
    Talk(OfTalk),
}

impl Action {
    /// Checks that the action can run with every value of these parameters.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        match self {
            Self::Program(program) => program.check(parameters),
            Self::Method(method) => method.check(parameters),
            Self::Socket(_) => Ok(()),
            Self::Clock(_) if parameters.is_empty() => Ok(()),
            Self::Clock(_) => Err("a `clock` action uses no parameters".into()),
            Self::Http(http) => http.check(parameters),
            Self::Timer(timer) => timer.check(parameters),
            Self::Talk(talk) => talk.check(parameters),
        }
    }

    /// Whether its output is said to the person as it is.
    pub(super) fn speaks(&self) -> bool {
        matches!(self, Self::Timer(_) | Self::Clock(_) | Self::Talk(_))
    }

    /// Whether its output is made of words of this program and of the person who asks. The last words of the assistant may
    /// be those of a stranger.
    pub(super) fn is_ours(&self) -> bool {
        self.speaks() && *self != Self::Talk(OfTalk::Repeat)
    }

    /// Runs the action to its end and returns its output, unless its timeout or `halted` comes first. While `halted`
    /// is ready no step of the work is made, not even the first.
    ///
    /// # Errors
    /// When the action fails, times out or is halted.
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
            Self::Timer(timer) => unless(stop, timer.run(job)).await,
            Self::Clock(clock) => Ok(clock.tell()),
            Self::Talk(talk) => Ok(talk.run(&job)),
        }
    }

    fn timeout(&self) -> Timeout {
        match self {
            Self::Program(program) => program.timeout_ms,
            Self::Method(method) => method.timeout_ms,
            Self::Socket(socket) => socket.timeout_ms,
            Self::Http(http) => http.timeout_ms,
            Self::Timer(_) | Self::Clock(_) | Self::Talk(_) => Timeout::default(),
        }
    }
}

/// Waits for the halt or the timeout, whichever comes first.
async fn stop(timeout: Duration, halted: impl Future<Output = ()>) -> ActionError {
    tokio::select! {
        () = halted => ActionError::Halted,
        () = tokio::time::sleep(timeout) => ActionError::TimedOut(timeout),
    }
}

/// Does `work`, or drops it when `stop` is ready.
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

#[cfg(test)]
mod testing {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::commands::talk::testing::Said;
    use crate::commands::timers::Timers;
    use crate::commands::{Call, Catalogue, Origin};
    use crate::platform::environment::Environment;

    /// The action of a command with parameters of every kind, or why the catalogue is refused.
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

    /// The same, until `halted` is ready.
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
            timers: &Timers::new(None),
            talk: &Said::nothing(),
        };
        action(text).unwrap().run(job, halted).await
    }
}

#[cfg(test)]
mod tests {
    use super::testing::action;

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
