//! Messages between the voice thread and its handle.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::keyword::Spotted;
use super::segmenter::Sense;
use crate::config::Config;
use crate::platform::worker::Crash;
use crate::sound::playback::FarEnd;

/// The reports of the ears, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Name of the microphone that is now open and gives sound; `None` when it no longer does.
    Device(Option<String>),
    /// Why the wanted microphone is not open, and the remedy; empty when solved.
    Problem(String),
    /// Why some configured words are not waited for, and the remedy; empty when solved.
    Unspottable(String),
    /// This word was said. In mode `wake`, one that wakes also drops the utterance being heard.
    Spotted(Spotted),
    /// Whether the next speech becomes an utterance without a wake word, in modes `wake` and `push`; `false` ends that.
    Awake(bool),
    /// An utterance began.
    Started {
        /// The number of the utterance, from 1.
        utterance: u64,
    },
    /// More of the utterance, 16 kHz mono; the first holds the pre-roll.
    Sound {
        /// The number of the utterance.
        utterance: u64,
        /// The samples.
        samples: Vec<f32>,
    },
    /// The utterance may be over. If so, all its sound has come.
    Paused {
        /// The number of the utterance.
        utterance: u64,
        /// When the last sample of speech, before the silence, was captured.
        at: Instant,
    },
    /// The utterance goes on: more sound follows.
    Resumed {
        /// The number of the utterance.
        utterance: u64,
    },
    /// The utterance is over, or has its maximum length.
    Ended {
        /// The number of the utterance.
        utterance: u64,
        /// When the last sample of speech, before the silence that ended it, was captured.
        at: Instant,
    },
    /// The utterance was given up, for example because it was stopped or muted, or the microphone was lost.
    Dropped {
        /// The number of the utterance.
        utterance: u64,
    },
    /// The voice thread panicked. Its earlier reports no longer hold, and the utterance being heard is lost.
    Crashed(Crash),
}

/// Initial state of a voice thread, also after a restart.
#[derive(Debug, Clone)]
pub struct Beginning {
    pub config: Arc<Config>,
    /// Whether the user muted the microphone.
    pub muted: bool,
    /// Number of utterances so far.
    pub utterances: Arc<AtomicU64>,
}

/// Orders of the handle to the thread. Each is explained at the method of its name.
pub enum Command {
    Configure(Arc<Config>),
    Mute(bool),
    Beside(FarEnd),
    BesideSpeech(bool),
    Understand(u64, Sense),
    Listen,
    FollowUp,
    Stop,
    #[cfg(test)]
    Panic,
}
