//! Why a catalogue was refused.

use std::path::PathBuf;

use super::written::LONGEST_FILE;
use crate::platform::file::{FileProblem, shown};

/// Why a catalogue was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A file or folder cannot be read.
    #[error("cannot read the commands: {0}; see [commands] folders")]
    Unreadable(#[from] FileProblem),
    /// Others than root and the daemon's user could have the daemon do anything.
    #[error("{}: {why}", shown(path))]
    Untrusted {
        /// The file or folder.
        path: PathBuf,
        /// Who, and what to do.
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
    /// All files together have more than a model can be told.
    #[error("the commands in {folders} are too many: {why}; leave some out")]
    TooMany {
        /// Where they are.
        folders: String,
        /// What is too much, and how much may be.
        why: String,
    },
    /// A file does not fit.
    #[error(
        "{}:{line}: {key}{message}; see /usr/share/gemmad/commands/home.toml for the keys",
        shown(path)
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// `commands.NAME: `, or nothing where the file is not even TOML.
        key: String,
        /// What is wrong.
        message: String,
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
