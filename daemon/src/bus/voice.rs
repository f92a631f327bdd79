//! `org.gemmad1.Voice`.

use gemmad_api::{Dict, Error, VoiceState};
use zbus::interface;
use zbus::object_server::SignalEmitter;

use super::refusal;
use crate::voice::{self, Status};

/// The object.
pub(super) struct Voice {
    voice: voice::Voice,
}

#[interface(name = "org.gemmad1.Voice")]
impl Voice {
    /// Push to talk: hears one utterance and answers it. Returns at once.
    fn listen(&self) -> Result<(), Error> {
        self.voice.listen().map_err(|error| refusal::voice(&error))
    }

    /// Drops the utterance being heard and cancels the answers being made for spoken turns.
    fn stop(&self) {
        self.voice.stop();
    }

    /// Whether the microphone is closed.
    #[zbus(property)]
    fn muted(&self) -> bool {
        self.status().muted
    }

    #[zbus(property)]
    fn set_muted(&mut self, muted: bool) {
        self.voice.mute(muted);
    }

    /// What the voice is doing.
    #[zbus(property)]
    fn state(&self) -> VoiceState {
        self.status().state
    }

    /// Name of the microphone in use; empty when none is.
    #[zbus(property)]
    fn device(&self) -> String {
        self.status().device
    }

    /// Why there is no microphone although there should be one; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> String {
        self.status().problem
    }

    /// Somebody began to speak.
    #[zbus(signal)]
    pub(super) async fn speech_started(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
    ) -> zbus::Result<()>;

    /// They stopped.
    #[zbus(signal)]
    pub(super) async fn speech_ended(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
        milliseconds: u32,
    ) -> zbus::Result<()>;

    /// What was said.
    #[zbus(signal)]
    pub(super) async fn transcript(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
        text: &str,
    ) -> zbus::Result<()>;

    /// The answer, with its statistics.
    #[zbus(signal)]
    pub(super) async fn reply(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
        text: &str,
        stats: Dict,
    ) -> zbus::Result<()>;

    /// The utterance got no answer.
    #[zbus(signal)]
    pub(super) async fn failed(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
        error: &str,
        message: &str,
    ) -> zbus::Result<()>;
}

impl Voice {
    pub(super) fn new(voice: voice::Voice) -> Self {
        Self { voice }
    }

    fn status(&self) -> Status {
        self.voice.status().borrow().clone()
    }
}
