//! What happens in a spoken turn.

use crate::engine::{EngineError, Stats};
use crate::listen::Spotted;

/// What happens in a spoken turn. The number of the utterance ties the events together.
#[derive(Debug, Clone)]
pub enum Event {
    /// The utterance began.
    Started {
        /// The utterance.
        utterance: u64,
    },
    /// The utterance ended.
    Ended {
        /// The utterance.
        utterance: u64,
        /// Its length, pre-roll included.
        milliseconds: u32,
    },
    /// What was said so far.
    Hearing {
        /// The utterance.
        utterance: u64,
        /// The text.
        text: String,
    },
    /// What was said.
    Transcript {
        /// The utterance.
        utterance: u64,
        /// The text.
        text: String,
    },
    /// More of the answer.
    Replying {
        /// The utterance.
        utterance: u64,
        /// The piece, which follows those before.
        piece: String,
    },
    /// The answer.
    Reply {
        /// The utterance.
        utterance: u64,
        /// The text.
        text: String,
        /// How it came about.
        stats: Box<Stats>,
    },
    /// A word was said that is known without the model.
    Spotted(Spotted),
    /// There is no answer.
    Failed {
        /// The utterance.
        utterance: u64,
        /// Why.
        error: EngineError,
    },
}
