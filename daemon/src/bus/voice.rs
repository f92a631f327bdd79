//! `org.gemmad1.Voice`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gemmad_api::{
    DeviceInfo, DeviceKind, Dict, Error, KeywordMeaning, Options, SayOptions, VoiceState, to_dict,
};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::bucket::Bucket;
use super::clients::{Clients, Kind};
use super::refusal;
use crate::assistant;
use crate::assistant::Status;
use crate::config::Fraction;
use crate::engine::EngineError;
use crate::sound::device::{self, Present};
use crate::speak::Manner;

/// Most bytes of a text to speak: more than an hour of speech.
const LONGEST_TEXT: usize = 1 << 16;

/// Most times in a row that `Muted` may be set, except to close an open microphone, and the rate after that. Each time
/// is signalled, changed or not, and a bus keeps signals for a subscriber that does not read.
const MUTINGS: u32 = 32;
const MUTINGS_A_SECOND: u32 = 2;

/// The object.
pub(super) struct Voice {
    room: assistant::Voice,
    clients: Clients,
    /// Locked while devices are listed, so that a device that hangs blocks one thread only.
    listing: Arc<tokio::sync::Mutex<()>>,
    /// Limits how often `Muted` may be set, except to close an open microphone.
    muting: Mutex<Bucket>,
}

#[interface(name = "org.gemmad1.Voice")]
impl Voice {
    /// Push to talk: hears one utterance and answers it. Returns when the microphone is open.
    async fn listen(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        call.while_there(async {
            let listening = self.room.listen().await;
            listening.map_err(|error| refusal::voice(&error))
        })
        .await
    }

    /// Says `text` through the loudspeaker and returns when it was heard.
    async fn say(
        &self,
        text: &str,
        options: Options<SayOptions>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let manner = checked(text, options.read()?)?;
        let speech = self.clients.hold(connection, &header, Kind::Speech)?;
        let saying = async {
            let said = self.room.say(text, &manner).await;
            said.map_err(|error| refusal::speech(&error))
        };
        speech.while_there(saying).await
    }

    /// Drops the utterance being heard, cancels the answers being made for spoken turns, and falls silent.
    fn stop(&self) {
        self.room.stop();
    }

    /// The microphones and loudspeakers that are there.
    #[zbus(out_args("devices"))]
    async fn devices(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Dict>, Error> {
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        let listed = call.while_there(self.present()).await?;
        let used = self.room.used(&listed);
        let described = listed.iter().map(|device| {
            to_dict(&DeviceInfo {
                in_use: used.contains(&device),
                kind: match device.kind {
                    device::Kind::Microphone => DeviceKind::Microphone,
                    device::Kind::Loudspeaker => DeviceKind::Loudspeaker,
                },
                id: device.id.clone(),
                name: device.name.clone(),
                is_default: device.is_default,
            })
        });
        Ok(described.collect())
    }

    /// How loud the open microphone is, in dB of full scale.
    #[zbus(property(emits_changed_signal = "false"))]
    fn level(&self) -> f64 {
        self.room.level().into()
    }

    /// Whether the microphone is closed.
    #[zbus(property)]
    fn muted(&self) -> bool {
        self.status().muted
    }

    // Closing an open microphone is always obeyed.
    #[zbus(property)]
    fn set_muted(&self, muted: bool) -> Result<(), Error> {
        let is_open = !self.status().muted;
        if muted && is_open || self.muting().take(Instant::now()) {
            self.room.mute(muted);
            return Ok(());
        }
        let now = if is_open { "open" } else { "muted" };
        Err(Error::Busy(format!(
            "the microphone was muted or unmuted too often; it is {now}; try again in a second"
        )))
    }

    /// What the voice is doing.
    #[zbus(property)]
    fn state(&self) -> VoiceState {
        self.status().state.into()
    }

    /// Name of the microphone in use; empty when none is.
    #[zbus(property)]
    fn device(&self) -> String {
        self.status().device.unwrap_or_default()
    }

    /// Why there is no microphone although there should be one; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> String {
        self.status().problem.unwrap_or_default()
    }

    /// Name of the loudspeaker in use; empty when none is open.
    #[zbus(property)]
    fn loudspeaker(&self) -> String {
        self.status().loudspeaker.unwrap_or_default()
    }

    /// Why nothing can be said; empty otherwise.
    #[zbus(property)]
    fn speech_problem(&self) -> String {
        self.status().speech_problem.unwrap_or_default()
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

    /// What was said so far.
    #[zbus(signal)]
    pub(super) async fn partial_transcript(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
        text: &str,
    ) -> zbus::Result<()>;

    /// What was said.
    #[zbus(signal)]
    pub(super) async fn transcript(
        emitter: &SignalEmitter<'_>,
        utterance: u64,
        text: &str,
    ) -> zbus::Result<()>;

    /// More of the answer.
    #[zbus(signal)]
    pub(super) async fn reply_piece(
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

    /// A word was said that is known without the model.
    #[zbus(signal)]
    pub(super) async fn keyword(
        emitter: &SignalEmitter<'_>,
        word: &str,
        meaning: KeywordMeaning,
        score: f64,
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
    pub(super) fn new(voice: assistant::Voice, clients: Clients) -> Self {
        Self {
            room: voice,
            clients,
            listing: Arc::default(),
            muting: Mutex::new(Bucket::new(MUTINGS, MUTINGS_A_SECOND, Instant::now())),
        }
    }

    fn muting(&self) -> MutexGuard<'_, Bucket> {
        // No code panics while it is locked.
        self.muting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the devices, one listing at a time, on a thread that they may block.
    async fn present(&self) -> Result<Vec<Present>, Error> {
        let listing = Arc::clone(&self.listing).lock_owned().await;
        let listed = tokio::task::spawn_blocking(move || {
            let present = device::present();
            drop(listing);
            present
        });
        // The task fails only at the daemon's end.
        listed
            .await
            .map_err(|_| refusal::engine(&EngineError::Stopping))
    }

    fn status(&self) -> Status {
        self.room.status().borrow().clone()
    }
}

/// Checks a text to speak and its options.
fn checked(text: &str, options: SayOptions) -> Result<Manner, Error> {
    if text.len() > LONGEST_TEXT {
        return Err(Error::InvalidArgument(format!(
            "the text has {} bytes; at most {LONGEST_TEXT} are said at once",
            text.len()
        )));
    }
    let is_name = |name: &String| {
        let is_safe = |it: char| it.is_ascii_alphanumeric() || "+-_.".contains(it);
        name.starts_with(|it: char| it.is_ascii_alphanumeric()) && name.chars().all(is_safe)
    };
    if let Some(voice) = options.voice.as_ref().filter(|it| !is_name(it)) {
        return Err(Error::InvalidArgument(format!(
            "{voice:?} is no voice: that is letters, digits, +, -, _ and ., such as en-gb"
        )));
    }
    #[expect(clippy::cast_possible_truncation, reason = "nobody hears the rest")]
    let volume = options.volume.map(|volume| {
        Fraction::new(volume as f32).ok_or_else(|| {
            Error::InvalidArgument(format!("volume is {volume}; it must be above 0, to 1"))
        })
    });
    Ok(Manner {
        voice: options.voice,
        volume: volume.transpose()?,
    })
}
