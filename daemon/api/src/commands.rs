//! `org.gemmad1.Commands`: the catalogue of commands, and their invocation.

use serde::{Deserialize, Serialize};
use zbus::{OwnedVariant, Type, Variant, as_variant, proxy};

use crate::options::{FromOptions, Given, Unfit};
use crate::{Dict, Error, Passage};

/// Options of `Invoke`. All are optional; an unknown one is an error.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct InvokeOptions {
    /// Report what would be invoked, and invoke nothing.
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

/// What the model made of a text. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No command.
    #[default]
    Nothing,
    /// A command that is incomplete; the text asks for what is missing.
    Question,
    /// One or more commands.
    Commands,
}

/// What became of a command. On the bus the lower-case words with hyphens.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum InvocationStatus {
    /// `Invoked` was signalled, and its action, if it has one, has ended well.
    Done,
    /// It would be invoked; the call was a dry run.
    #[default]
    DryRun,
    /// It waits for `Confirm`, for a minute from the signal `Unconfirmed`, or behind another command that does.
    Unconfirmed,
    /// It was last invoked less than its cooldown ago, or too often within a minute.
    TooSoon,
    /// The catalogue does not let this user invoke it, the user is unknown, or the command is no longer in the
    /// catalogue.
    NotAllowed,
    /// A command before it in the same text was refused or failed.
    Skipped,
    /// A halt came before it began, or while its action ran.
    Cancelled,
    /// Its action has begun; the signal `Finished` will say how it ended.
    Running,
    /// Its action failed.
    Failed,
    /// Its action exceeded its time limit and was ended.
    TimedOut,
    /// It waited for `Confirm` and was refused.
    Refused,
    /// It waited for `Confirm` for longer than a minute.
    Expired,
    /// It waited for `Confirm` and made room for a newer one, because too many did.
    Displaced,
}

impl InvocationStatus {
    /// The word on the bus, such as `too-soon`.
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
    /// Output of its action, or why it failed; empty if there is neither.
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
    /// Example texts and the expected arguments, as a JSON array of objects with `say` and `arguments`. Arguments
    /// left out have their defaults; an object without `arguments` is a text that is no command.
    pub examples: String,
    /// Whether it has to be confirmed before it is invoked.
    pub confirm: bool,
    /// Whether it can do harm.
    pub dangerous: bool,
    /// Whether it is invoked by a halt, which cancels all that waits and runs.
    pub halts: bool,
}

/// Commands: the catalogue declares them, the model maps a text to them, and a command's action or a client that
/// receives `Invoked` carries it out.
#[proxy(
    interface = "org.gemmad1.Commands",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1/commands"
)]
pub trait Commands {
    /// The commands in force, sorted by name; see [`CommandInfo`].
    fn list(&self) -> Result<Vec<Dict>, Error>;

    /// Checks `text` as a file of the catalogue with the name `name`, and returns its commands. Nothing comes into
    /// force. Problems that a reload would only warn about, such as an unknown user, are errors here. If `name` is the
    /// path of a file that the daemon can read and that holds this text, only root and the daemon's user may have
    /// write access to it.
    fn check(&self, name: &str, text: &str) -> Result<Vec<Dict>, Error>;

    /// Lets the model map `text` to commands, invokes them, and waits until their actions have ended. If the caller
    /// leaves the bus before that, the actions are ended, except those that halt; if the call expects no reply, they
    /// go on. Returns the outcome; a text, which is the question back, the model's words if there was no command, or
    /// its words about the results; the commands in the order of the text; and statistics ([`crate::Stats`]).
    fn invoke(
        &self,
        text: &str,
        options: InvokeOptions,
    ) -> Result<(Outcome, String, Vec<Invocation>, Dict), Error>;

    /// Renders `text` as `Invoke` does, and returns what the model would read. Nothing is computed.
    fn render(&self, text: &str) -> Result<Vec<Passage>, Error>;

    /// Invokes the command that waits under this number, and those that follow it in the same text. A written command
    /// can be confirmed only by the user who wrote it, a spoken one by every user who may call the daemon.
    fn confirm(&self, id: u64) -> Result<Vec<Invocation>, Error>;

    /// Drops the command that waits under this number, and those that follow it in the same text; returns them. It
    /// can be refused by the users who can confirm it.
    fn refuse(&self, id: u64) -> Result<Vec<Invocation>, Error>;

    /// Cancels all commands that wait for `Confirm` and all running actions except those that halt, and invokes every
    /// command of the catalogue that `halts`. The model is not asked, and no limit delays it. Commands asked for
    /// before the halt do not begin after it. Returns the invoked commands without waiting for their actions. A
    /// halting command whose action still runs is not invoked a second time in parallel. A halt within 100 ms of the
    /// previous one, with nothing asked for in between, counts as the same halt. Without a catalogue everything is
    /// cancelled and nothing is invoked.
    fn halt(&self) -> Result<Vec<Invocation>, Error>;

    /// The action of this command has ended. `details` are those of [`Self::invoked`], and for a spoken command
    /// `result`: the output of the action, or why it failed. The result of a written command is only in the reply to
    /// `Invoke`. Commands without an action are not signalled.
    #[zbus(signal)]
    fn finished(&self, id: u64, status: InvocationStatus, details: Dict) -> zbus::Result<()>;

    /// Whether a catalogue is in force; the configuration enables commands. Its change is signalled whenever another
    /// catalogue comes into force, so that a client knows when to call `List` again.
    #[zbus(property)]
    fn enabled(&self) -> zbus::Result<bool>;

    /// This command is to be carried out now. `details` has the `origin`: `text` with the `user` who wrote it, `voice`
    /// with the number of the `utterance`, or `daemon` when the daemon ends. A spoken halt word may come outside an
    /// utterance and then has no number.
    #[zbus(signal)]
    fn invoked(
        &self,
        id: u64,
        name: String,
        arguments_json: String,
        details: Dict,
    ) -> zbus::Result<()>;

    /// This command waited for `Confirm` and will not be carried out. It was `refused`, has `expired` after a minute,
    /// was `displaced` by others or `cancelled` by a halt, or is `not-allowed` by the catalogue any more. `details`
    /// are those of [`Self::invoked`].
    #[zbus(signal)]
    fn dropped(&self, id: u64, status: InvocationStatus, details: Dict) -> zbus::Result<()>;

    /// This command waits for `Confirm`; the arguments are those of [`Self::invoked`].
    #[zbus(signal)]
    fn unconfirmed(
        &self,
        id: u64,
        name: String,
        arguments_json: String,
        details: Dict,
    ) -> zbus::Result<()>;
}
