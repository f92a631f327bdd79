//! `org.gemmad1.Commands`: what may be asked for, and what is invoked.

use serde::{Deserialize, Serialize};
use zbus::{OwnedVariant, Type, Variant, as_variant, proxy};

use crate::options::{FromOptions, Given, Unfit};
use crate::{Dict, Error};

/// Options of `Invoke`. Every one may be left out; an unknown one is an error.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct InvokeOptions {
    /// Only say what would be invoked.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

impl FromOptions for InvokeOptions {
    const NAMES: &'static [&'static str] = &["dry_run"];

    fn set(&mut self, name: &str, value: Given<'_>) -> Result<(), Unfit> {
        match name {
            "dry_run" => self.dry_run = Some(value.flag()?),
            _ => return Err(Unfit::Unknown),
        }
        Ok(())
    }
}

/// What an utterance was, as the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No command.
    #[default]
    Nothing,
    /// A command that lacks something.
    Question,
    /// One or more commands.
    Commands,
}

/// What became of a command, as the lower-case words with hyphens.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum InvocationStatus {
    /// It is invoked: `Invoked` was signalled; its action, if it has one, did its work.
    Done,
    /// It would be.
    #[default]
    DryRun,
    /// It waits for `Confirm`: for a minute from when it is asked about (`Unconfirmed`), or behind another that
    /// does.
    Unconfirmed,
    /// It was invoked less than its cooldown ago, or too often within a minute.
    TooSoon,
    /// Whoever asked may not, or nobody knows who it is.
    NotAllowed,
    /// A command before it was refused, or failed.
    Skipped,
    /// A command that halts came after it, or while its action ran.
    Cancelled,
    /// Its action has begun; `Finished` says how it ends.
    Running,
    /// Its action failed.
    Failed,
    /// Its action took longer than it may, and was ended.
    TimedOut,
    /// It waited to be confirmed, and was refused.
    Refused,
    /// It waited to be confirmed for longer than a minute.
    Expired,
    /// It waited to be confirmed while too many others did.
    Displaced,
}

impl InvocationStatus {
    /// The word on the bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DryRun => "dry-run",
            Self::Unconfirmed => "unconfirmed",
            Self::TooSoon => "too-soon",
            Self::NotAllowed => "not-allowed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Displaced => "displaced",
        }
    }
}

/// A command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Invocation {
    /// Its number, unique while the daemon runs.
    pub id: u64,
    /// The command's name.
    pub name: String,
    /// Its arguments, defaults included, as a JSON object with sorted keys.
    pub arguments: String,
    /// What became of it.
    pub status: InvocationStatus,
    /// What its action said, or why it failed; empty: nothing.
    pub result: String,
}

/// A command of the catalogue. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandInfo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its parameters as a JSON Schema with defaults, in JSON.
    pub parameters: String,
    /// What people say and what must come of it, as a JSON array of objects with `say` and, if it is a
    /// command, `arguments`: those that are said. Defaults come to them.
    pub examples: String,
    /// Whether it is confirmed before it is invoked.
    pub confirm: bool,
    /// Whether it can do harm.
    pub dangerous: bool,
    /// Whether it halts what waits and runs.
    pub halts: bool,
}

/// Commands: a catalogue says what there is, the model makes out what was meant, and whoever listens to
/// `Invoked` acts.
#[proxy(
    interface = "org.gemmad1.Commands",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1/commands"
)]
pub trait Commands {
    /// The commands in force, sorted by name; see [`CommandInfo`].
    fn list(&self) -> Result<Vec<Dict>, Error>;

    /// Reads `text` as a file of the catalogue that is called `name`, and returns its commands. Nothing
    /// comes into force. What a reload would only warn of is refused too, such as a user whom the machine does not
    /// know. If `name` is the path of a file that the daemon can read and that has this text, nobody but root and the
    /// daemon's user may be able to write it.
    fn check(&self, name: &str, text: &str) -> Result<Vec<Dict>, Error>;

    /// Makes out what `text` asks for, invokes it, and waits until the actions have ended. If the caller leaves
    /// the bus before that, they are ended, unless they halt; if it wants no reply, they go on. Returns what it was;
    /// the question back, the model's words if it was no command, or what it says of what the commands found; the
    /// commands in the order they were said; and statistics ([`crate::Stats`]).
    fn invoke(
        &self,
        text: &str,
        options: InvokeOptions,
    ) -> Result<(Outcome, String, Vec<Invocation>, Dict), Error>;

    /// Invokes the command that waits under this number, and those that were said after it. What somebody
    /// wrote only they confirm; what was said, whoever may talk to the daemon.
    fn confirm(&self, id: u64) -> Result<Vec<Invocation>, Error>;

    /// Lets go of the command that waits under this number, and of those that were said after it; returns them. Who
    /// may confirm it may refuse it.
    fn refuse(&self, id: u64) -> Result<Vec<Invocation>, Error>;

    /// Cancels all that waits to be confirmed and all actions that run, and invokes every command of the catalogue that
    /// `halts`. The model is not asked, and no condition holds it up. What was asked for before this is not begun
    /// after it. Returns what was invoked, and does not wait until it has ended; a command that halts already is not
    /// invoked again beside itself, and a halt within 100 ms of the one before, with nothing asked for in between, is
    /// the same one. Without a catalogue nothing is invoked, and all is cancelled the same.
    fn halt(&self) -> Result<Vec<Invocation>, Error>;

    /// The action of this command has ended. `details` are those of [`Self::invoked`], and for a spoken command
    /// the `result`: what the action said, or why it failed. A person who wrote gets that from `Invoke`. A command
    /// without an action has none of this.
    #[zbus(signal)]
    fn finished(&self, id: u64, status: InvocationStatus, details: Dict) -> zbus::Result<()>;

    /// Whether there are commands. They are switched on in the configuration. Its change is signalled whenever
    /// another catalogue is in force, so that who keeps a list knows when to ask for it again.
    #[zbus(property)]
    fn enabled(&self) -> zbus::Result<bool>;

    /// This is to be done now. `details` has the `origin` (`text`, `voice`, or `daemon` at its end), and the `user` who wrote or
    /// the `utterance` that was heard; a word that halts may be heard outside of one.
    #[zbus(signal)]
    fn invoked(
        &self,
        id: u64,
        name: String,
        arguments_json: String,
        details: Dict,
    ) -> zbus::Result<()>;

    /// This command waited for `Confirm` and will not be done: it was `refused`, `expired` after a minute, was
    /// `displaced` by others, `cancelled` by a halt, or is `not-allowed` by the catalogue any more. `details` are
    /// those of [`Self::invoked`].
    #[zbus(signal)]
    fn dropped(&self, id: u64, status: InvocationStatus, details: Dict) -> zbus::Result<()>;

    /// This waits for `Confirm`; see [`Self::invoked`].
    #[zbus(signal)]
    fn unconfirmed(
        &self,
        id: u64,
        name: String,
        arguments_json: String,
        details: Dict,
    ) -> zbus::Result<()>;
}
