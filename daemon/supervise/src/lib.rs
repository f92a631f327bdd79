//! The protocol between gemmad and the supervisor of a program.
//!
//! The supervisor's standard input is one end of a socket pair, the *lifeline*; only the daemon holds the other end:
//!
//! | direction | carries |
//! |---|---|
//! | to the supervisor, first | the program's standard input, of the length in the [`Order`] |
//! | to the supervisor, later | any byte, or end of file: the program has to end |
//! | to gemmad | one [`Report`], as soon as the program has ended or could not be started |
//! | to gemmad, end of file | no process of the program is left |
//!
//! Standard output and standard error are the program's own.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::str::FromStr;
use std::time::Duration;

/// File name of the supervisor.
pub const NAME: &str = "gemmad-supervise";

/// Time between SIGTERM and SIGKILL: enough for a program to stop a motor.
pub const GRACE: Duration = Duration::from_millis(500);

/// The supervisor's command line: `INPUT USER:GROUP PROGRAM ARGUMENT…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Length of the program's standard input, in bytes; `None`: it reads `/dev/null`.
    pub input: Option<usize>,
    /// User and group that run the program; `None`: those of the supervisor.
    pub account: Option<(u32, u32)>,
    /// Path of the program, or a name that is looked up in `PATH`.
    pub program: OsString,
    /// Arguments of the program.
    pub arguments: Vec<OsString>,
}

/// What became of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It ended, with this status.
    Ended(ExitStatus),
    /// It could not be started; the error number says why.
    NotStarted(i32),
}

/// Stands for an absent input or account.
const NONE: &str = "-";

impl Order {
    /// The order as arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let input = self.input.map(|bytes| bytes.to_string());
        let account = self.account.map(|(user, group)| format!("{user}:{group}"));
        let mut words = [input, account]
            .map(|word| OsString::from(word.unwrap_or_else(|| NONE.into())))
            .to_vec();
        words.push(self.program.clone());
        words.extend(self.arguments.iter().cloned());
        words
    }

    /// Reads an order from arguments; `None`: they are not an order.
    #[must_use]
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = words.into_iter();
        Some(Self {
            input: optional(&words.next()?, |word| word.parse().ok()).ok()?,
            account: optional(&words.next()?, |word| {
                let (user, group) = word.split_once(':')?;
                Some((user.parse().ok()?, group.parse().ok()?))
            })
            .ok()?,
            program: words.next()?,
            arguments: words.collect(),
        })
    }
}

/// A word of the command line is malformed.
struct NoWord;

/// Reads a word that is a value or [`NONE`].
fn optional<T>(word: &OsStr, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, NoWord> {
    match word.to_str() {
        Some(NONE) => Ok(None),
        Some(word) => read(word).map(Some).ok_or(NoWord),
        None => Err(NoWord),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(formatter, "ended {}", status.into_raw()),
            Self::NotStarted(number) => write!(formatter, "not-started {number}"),
        }
    }
}

/// The text is not a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(line: &str) -> Result<Self, NoReport> {
        let (word, number) = line.trim_end().split_once(' ').ok_or(NoReport)?;
        let number = number.parse().map_err(|_| NoReport)?;
        match word {
            "ended" => Ok(Self::Ended(ExitStatus::from_raw(number))),
            "not-started" => Ok(Self::NotStarted(number)),
            _ => Err(NoReport),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let plain = Order {
            input: None,
            account: None,
            program: "/bin/true".into(),
            arguments: Vec::new(),
        };
        let full = Order {
            input: Some(12),
            account: Some((1000, 100)),
            program: "espeak-ng".into(),
            arguments: vec!["-".into(), "--".into(), "a b".into()],
        };
        for order in [plain, full] {
            assert_eq!(Order::read(order.arguments()), Some(order));
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for words in [
            &[][..],
            &["-", "-"],
            &["x", "-", "/bin/true"],
            &["-1", "-", "/bin/true"],
            &["-", "5", "/bin/true"],
            &["-", "5:x", "/bin/true"],
        ] {
            assert_eq!(Order::read(words.iter().map(Into::into)), None, "{words:?}");
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for report in [
            Report::Ended(ExitStatus::from_raw(0)),
            Report::Ended(ExitStatus::from_raw(2 << 8)),
            Report::Ended(ExitStatus::from_raw(9)),
            Report::NotStarted(2),
        ] {
            assert_eq!(format!("{report}\n").parse(), Ok(report));
        }
        for text in ["", "ended", "ended x", "begun 1"] {
            assert_eq!(text.parse::<Report>(), Err(NoReport), "{text}");
        }
    }
}
