//! Reports of speaking.

use crate::platform::worker::Crash;
use crate::sound::playback::FarEnd;

/// A report of speaking.
#[derive(Debug)]
pub enum Said {
    /// `true`: a speech begins at the loudspeaker. `false`: the last one has ended.
    Speaking(bool),
    /// Name of the loudspeaker that is now open; `None` when it no longer is.
    Device(Option<String>),
    /// The far end of the loudspeaker that was just opened.
    FarEnd(FarEnd),
    /// Why the wanted loudspeaker is not open; empty when solved.
    NoLoudspeaker(String),
    /// Why text does not become sound; empty when solved.
    NoSound(String),
    /// The mouth's thread panicked.
    Crashed(Crash),
}
