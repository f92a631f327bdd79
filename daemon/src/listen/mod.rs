//! Listening: from the microphone to utterances, and to words that are known without the language model.
//!
//! ```text
//! microphone ─ cpal ─► ring ─► front end: resample, echo, noise ─► vad ─► segmenter ─► Heard
//!              (capture)       └──────────────── listener: the voice thread ──────────────┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `ears` | the handle of the voice thread |
//! | `messages` | the thread's reports and orders |
//! | `listener` | the voice thread |
//! | `attention` | whether the microphone is wanted, and which speech becomes an utterance |
//! | `utterance` | an utterance while it is heard |
//! | `front_end` | captured samples → 16 kHz mono without echo and noise |
//! | `echo`, `double_talk` | the assistant's own voice, and whether a person speaks over it |
//! | `enhancer` | noise suppression and gain control |
//! | `vad`, `confirmation`, `silero` | whether there is speech, and whether it is a voice |
//! | `frame` | the samples that are judged together |
//! | `foreground` | whether it is the same person's |
//! | `segmenter` | where an utterance begins and ends |
//! | `barge_in`, `thresholds` | whether the assistant is interrupted |
//! | `keyword` | words that wake or halt |
//! | `simulation` | barge-in without devices, for examples |
//!
//! Nothing here knows the engine.

mod attention;
mod barge_in;
mod confirmation;
mod double_talk;
pub(crate) mod ears;
mod echo;
mod enhancer;
mod foreground;
mod frame;
mod front_end;
pub(crate) mod keyword;
mod listener;
pub(crate) mod messages;
pub(crate) mod segmenter;
mod silero;
pub mod simulation;
mod thresholds;
pub(crate) mod utterance;
mod vad;

pub use keyword::{KeywordError, Spotted, Spotter};
pub use segmenter::{Segment, Segmenter, Sense};
