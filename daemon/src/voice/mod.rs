//! From the microphone to utterances, and from sound files to samples: everything that is sound.
//!
//! ```text
//! microphone ─ cpal ─► ring ─► resample ─► echo ─► vad ─► utterance ─► Heard
//!              (capture)       └───────── listener: voice thread ──────────┘
//! ```
//!
//! `turn` and `conversation` take what is heard to the engine and bring back what comes of it, to be spoken
//! if wanted (`speech`). Nothing else here knows the engine, and nothing at all llama.cpp or the bus.

mod capture;
mod conversation;
mod device;
mod double_talk;
mod ears;
mod echo;
mod enhancer;
mod file;
mod foreground;
mod held;
mod interruption;
mod keyword;
mod listener;
mod meter;
mod mix;
mod problem;
mod recording;
mod resample;
#[cfg(test)]
mod sounds;
mod speech;
mod stream;
mod turn;
mod utterance;
mod vad;
mod watched;
mod worker;

pub use device::{Kind, Present, present};
pub use ears::{Ears, Heard};
pub use file::{Bytes, Decoded, FileError, decode};
pub use keyword::{KeywordError, Spotted, Spotter};
pub use meter::Meter;
#[cfg(feature = "fuzzing")]
pub use speech::fuzzing;
pub use speech::{Manner, SpeechError};
pub use turn::{Event, Status, Voice, VoiceError};
pub use utterance::{Segment, Segmenter, Sense};
pub use worker::Crash;
