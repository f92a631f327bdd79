//! Speaking: text that may still be growing becomes sound at the loudspeaker, its first clause first.
//!
//! ```text
//! pieces of text ─► sentences ─► speakable ─► synthesiser ─► queue ─► resample ─► ring ─ cpal ─► loudspeaker
//!                   └───── reading: a task per text ─────┘   └─────── mouth: a thread ───────┘
//! ```
//!
//! A sentence is synthesised while the one before is played and the one after is still written. The
//! loudspeaker is opened when there is something to say, and kept for a while.

mod arithmetic;
mod boundary;
mod earcon;
mod english;
mod error;
mod formula;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inline;
mod language;
mod lines;
mod manner;
mod markdown;
mod mouth;
mod passage;
mod pcm;
mod player;
mod queue;
mod reading;
mod said;
mod sentence;
mod sentences;
mod speakable;
mod speech;
mod spoken;
mod synthesiser;
mod tongue;
mod volume;

pub use earcon::Earcon;
pub use error::SpeechError;
pub use manner::Manner;
pub use said::Said;
pub use speech::{Speaking, Speech};
pub use spoken::Spoken;
pub use volume::Volume;
