//! A command that was asked for, its origin and its status.

use std::fmt;

use super::Call;

/// The origin of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A client sent it: a person who writes, or a program.
    Text {
        /// The client's user name, or the user's number if it has no name.
        user: String,
    },
    /// It was spoken.
    Voice {
        /// The utterance; `None`: a keyword, which belongs to none.
        utterance: Option<u64>,
    },
    /// The daemon, at its end.
    Daemon,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was invoked, and its action, if it has one, has ended well.
    Done,
    /// It would be invoked; it was asked in a dry run.
    DryRun,
    /// It waits for consent, for a minute, or behind another command that does.
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
    /// Its action has begun; how it ends is told later.
    Running,
    /// Its action failed.
    Failed,
    /// Its action exceeded its time limit and was ended.
    TimedOut,
    /// It waited for consent and was refused.
    Refused,
    /// It waited for consent for longer than a minute.
    Expired,
    /// It waited for consent and made room for a newer one, because too many did.
    Displaced,
}

/// A command that was asked for, and its status.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// Its number, unique while the daemon runs.
    pub id: u64,
    /// The command.
    pub call: Call,
    /// Its status.
    pub status: Status,
    /// The output of its action, or why it failed; may be empty.
    pub result: String,
}

impl Status {
    /// The word for it, such as `too-soon`.
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

impl Origin {
    /// Whether both are the same person, as far as the daemon can tell: the same user, or a voice.
    pub(super) fn is_same_person(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Voice { .. }, Self::Voice { .. }) => true,
            (Self::Text { user }, Self::Text { user: other }) => user == other,
            _ => false,
        }
    }
}

impl Invocation {
    /// A command without a result yet.
    pub(super) fn new(id: u64, call: Call, status: Status) -> Self {
        Self {
            id,
            call,
            status,
            result: String::new(),
        }
    }

    /// Writes its name, origin and status to the journal. Arguments and the action's output repeat the content of
    /// conversations, so they are recorded only with `with_content`.
    pub(super) fn record(&self, origin: &Origin, with_content: bool) {
        let (arguments, said) = if with_content {
            (self.call.arguments_json(), self.result.as_str())
        } else {
            (String::new(), "")
        };
        log::info!(
            event = "command", command = self.call.name, id = self.id, result = self.status.as_str(),
            origin = origin.to_string(), arguments = arguments, said = said;
            "command {}: {}", self.call.name, self.status.as_str()
        );
    }
}

/// `set_light room=kitchen state=on`, its status unless it was done, and its result.
impl fmt::Display for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.call.name)?;
        for (key, value) in &self.call.arguments {
            match value.as_str() {
                Some(text) if !text.contains(' ') => write!(formatter, " {key}={text}")?,
                _ => write!(formatter, " {key}={value}")?,
            }
        }
        if self.status != Status::Done {
            write!(formatter, " ({})", self.status.as_str())?;
        }
        match self.result.as_str() {
            "" => Ok(()),
            result => write!(formatter, ": {result}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { user } => write!(formatter, "user {user}"),
            Self::Voice {
                utterance: Some(utterance),
            } => write!(formatter, "utterance {utterance}"),
            Self::Voice { utterance: None } => formatter.write_str("a word that was heard"),
            Self::Daemon => formatter.write_str("the daemon's end"),
        }
    }
}
