//! Errors of reading a catalogue, and of interpreting or carrying out a command.

use std::path::PathBuf;

use super::unfit::Unfit;
use crate::config::Mistake;
use crate::engine::EngineError;
use crate::platform::file::{FileProblem, shown};

/// Longest file of a catalogue, in bytes. The shipped files have 8,000 and 16,000.
pub(super) const LONGEST_FILE: usize = 64 * 1024;

/// Why a catalogue was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A file or folder cannot be read.
    #[error("cannot read the commands: {0}; see [commands] folders")]
    Unreadable(#[from] FileProblem),
    /// Users other than root and the daemon's own could write the file, and so have the daemon do anything.
    #[error("{}: {why}", shown(path))]
    Untrusted {
        /// The file or folder.
        path: PathBuf,
        /// Which users, and the remedy.
        why: String,
    },
    /// A file is longer than a catalogue may be.
    #[error(
        "{}: it has {bytes} bytes, but a file of commands has at most {LONGEST_FILE}; make several of it",
        shown(path)
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// All files together exceed a limit of the catalogue.
    #[error("the commands in {folders} are too many: {why}; leave some out")]
    TooMany {
        /// Where they are.
        folders: String,
        /// Which limit, and its value.
        why: String,
    },
    /// A file is not a valid catalogue.
    #[error(
        "{}:{mistake}; see /usr/share/gemmad/commands/home.toml for the keys",
        shown(path)
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        mistake: Mistake,
    },
    /// Two files have a command of the same name.
    #[error(
        "{}: there is a command {name} in {} already; rename one of them",
        shown(path),
        shown(other)
    )]
    Twice {
        /// The later file.
        path: PathBuf,
        /// The earlier one.
        other: PathBuf,
        /// The name.
        name: String,
    },
    /// No file has a command.
    #[error(
        "there are no commands in {folders}; put a file there (the shipped ones are examples), or set \
         [commands] enabled = false"
    )]
    Empty {
        /// Where they were looked for.
        folders: String,
    },
}

/// Why a command could not be interpreted or carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The configuration switches commands off.
    #[error("commands are switched off; set [commands] enabled = true and `gemmactl reload`")]
    Off,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model's answer is not valid, so nothing was done.
    #[error("nothing was done: {0}; say it in other words")]
    Unfit(#[from] Unfit),
    /// No command of this number waits for this person to confirm it.
    #[error(
        "no command {0} waits to be confirmed; it was not asked about yet, or was decided, dropped or expired after a \
         minute, or is another user's"
    )]
    NothingToConfirm(u64),
    /// Too many commands run already.
    #[error("{running} commands are running already; wait until one has ended, or `gemmactl halt`")]
    Crowded {
        /// How many run.
        running: usize,
    },
}
