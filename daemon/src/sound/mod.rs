//! Sound: devices and files, and samples on their way between them and the rest of the daemon.
//!
//! | file | owns |
//! |---|---|
//! | `device` | the microphones and loudspeakers present, and the choice among them |
//! | `stream` | a device that is opened, held and closed on a thread of its own |
//! | `lifecycle` | when a device is opened, counts as lost, and is opened again |
//! | `supervisor` | a device with its lifecycle: its stream and its reports |
//! | `capture` | one open microphone |
//! | `playback` | one open loudspeaker |
//! | `resample`, `mix` | from any rate and number of channels to another rate and one channel |
//! | `format` | the rate and the lengths of sound that the program works with |
//! | `meter` | the level of the microphone |
//! | `file` | sound files, decoded |
//! | `recording` | sound files, written |
//!
//! Nothing here knows speech.

pub(crate) mod capture;
pub(crate) mod device;
pub(crate) mod file;
mod format;
pub(crate) mod lifecycle;
pub(crate) mod meter;
pub(crate) mod mix;
pub(crate) mod playback;
pub(crate) mod recording;
pub(crate) mod resample;
pub(crate) mod stream;
pub(crate) mod supervisor;
#[cfg(test)]
pub(crate) mod testing;

pub use file::{Bytes, Decoded, FileError, decode};
pub use format::{LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS};
