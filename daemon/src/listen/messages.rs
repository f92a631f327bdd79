//! Messages between the voice thread and its handle.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::keyword::Spotted;
use super::utterance::Utterance;
use crate::config::Config;
use crate::platform::worker::Crash;
use crate::sound::playback::FarEnd;

/// The reports of the ears, in order.
#[derive(Debug)]
pub enum Heard {
    /// Name of the microphone that is now open and gives sound; `None` when it no longer does.
    Device(Option<String>),
    /// Why the wanted microphone is not open, and the remedy; `None` when solved.
    Problem(Option<String>),
    /// Why some configured words are not waited for, and the remedy; `None` when solved.
    Unspottable(Option<String>),
    /// This word was said. In mode `wake`, one that wakes also drops the utterance being heard.
    Spotted(Spotted),
    /// Whether the next speech becomes an utterance without a wake word, in modes `wake` and `push`; `false` ends that.
    Awake(bool),
    /// An utterance began.
    Utterance(Utterance),
    /// The voice thread panicked. Its earlier reports no longer hold.
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
pub enum Order {
    Configure(Arc<Config>),
    Mute(bool),
    Beside(FarEnd),
    BesideSpeech(bool),
    Listen,
    FollowUp,
    Stop,
    #[cfg(test)]
    Panic,
}
