//! Why something was not said.

use crate::platform::withheld::Withheld;

/// Why something was not said to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// It was stopped.
    #[error("it was stopped")]
    Stopped,
    /// No program is configured.
    #[error("no synthesiser is configured; set `command` in [speech]")]
    NoProgram,
    /// The program is not there, or may not be run.
    #[error("cannot run {program} ({why}); install it, or set `command` in [speech] to another")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
    /// The program failed, or made no sound.
    #[error("{program} produced no sound for a sentence ({status}); try it in a terminal")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// What it wrote on standard error.
        said: Withheld,
    },
    /// The program neither writes nor ends.
    #[error(
        "{program} wrote nothing for {seconds} s and was killed; see whether it works in a terminal"
    )]
    Hangs {
        /// The program.
        program: String,
        /// For how long.
        seconds: u64,
    },
    /// What the program writes cannot be played.
    #[error(
        "the output of {program} cannot be played: {why}; it must write a WAV file, or 16-bit mono samples whose \
         `rate` is set in [speech]"
    )]
    Unplayable {
        /// The program.
        program: String,
        /// Why.
        why: &'static str,
    },
    /// Too much waits to be said.
    #[error(
        "{places} texts wait to be said already; try again later, or silence them with `gemmactl stop`"
    )]
    Busy {
        /// How many may wait.
        places: usize,
    },
    /// The thread that plays sound panicked.
    #[error(
        "playback failed inside the daemon and was restarted; try again; if it fails again, see the journal"
    )]
    Crashed,
    /// There is nothing to play it with.
    #[error("{0}")]
    NoLoudspeaker(String),
}
