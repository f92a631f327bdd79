//! Errors of stand-ins.

use std::io;

/// Why a stand-in failed. Each message names what to install or look at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is missing.
    #[error("cannot run {program}: {source}; `cargo xtask setup` installs what is missing")]
    Program {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program ended, or closed its output, before it was up.
    #[error("{program} did not start; it said:\n{said}")]
    NotStarted {
        /// The program.
        program: String,
        /// What it wrote on standard error.
        said: String,
    },
    /// `gemmad` and `gemmactl` are not built.
    #[error("there is no {0} beside this program; build it with `cargo build --workspace --bins`")]
    NotBuilt(String),
    /// The daemon is up but did not come to the wanted state.
    #[error("gemmad is {state} and did not become {wanted} ({problem}); it said:\n{said}")]
    State {
        /// Its state now.
        state: String,
        /// The state waited for.
        wanted: String,
        /// Its property `Problem`.
        problem: String,
        /// What it wrote on standard error.
        said: String,
    },
    /// The microphone was unplugged.
    #[error("the microphone is unplugged; plug it in before speaking")]
    Unplugged,
    /// Sound could not be synthesised or resampled.
    #[error("cannot make the sound: {0}")]
    Sound(String),
    /// The bus failed.
    #[error("the private bus failed: {0}")]
    Bus(#[from] zbus::Error),
    /// A file, folder or pipe failed.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.display().to_string(),
            source,
        }
    }
}
