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
    /// Why the wanted loudspeaker is not open; `None` when solved.
    NoLoudspeaker(Option<String>),
    /// Why text does not become sound; `None` when solved.
    NoSound(Option<String>),
    /// The mouth's thread panicked.
    Crashed(Crash),
}
