//! `org.gemmad1.Voice`: microphone, loudspeaker and spoken turns.

use serde::{Deserialize, Serialize};
use zbus::{OwnedVariant, Type, Variant, as_variant, proxy};

use crate::options::{FromOptions, Given, Unfit};
use crate::{Dict, Error};

/// State of the voice. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum VoiceState {
    /// Not listening: switched off, muted, or without a microphone.
    #[default]
    Off,
    /// Waiting for speech.
    Waiting,
    /// Hearing an utterance, or expecting one: after the wake word, or as a follow-up to an answer.
    Listening,
    /// The model is working on the utterance.
    Thinking,
    /// The answer is being spoken.
    Speaking,
}

/// Kind of a device. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Captures sound.
    #[default]
    Microphone,
    /// Plays sound.
    Loudspeaker,
}

/// Meaning of a keyword, which is recognised without the language model. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum KeywordMeaning {
    /// Wake word: the speech after it is for the assistant.
    #[default]
    Wake,
    /// Halt word: everything under way ends.
    Halt,
}

/// A microphone or loudspeaker. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// Its kind.
    pub kind: DeviceKind,
    /// Value of `device` in the daemon's configuration that selects it.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Whether it is used when the configuration names none.
    pub is_default: bool,
    /// Whether it is open.
    pub in_use: bool,
}

/// Options of `Say`. All are optional; an unknown one is an error. Defaults come from the `[speech]`
/// section of the daemon's configuration.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct SayOptions {
    /// A voice of the synthesiser, such as `de` or `en-gb`: letters, digits, `+`, `-`, `_` and `.`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Volume, above 0, at most 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub volume: Option<f64>,
}

impl SayOptions {
    /// Maximum length of the name of a voice, in bytes.
    pub const LONGEST_VOICE: usize = 64;
}

impl FromOptions for SayOptions {
    const NAMES: &'static [&'static str] = &["voice", "volume"];

    fn set(&mut self, name: &str, value: Given<'_>) -> Result<(), Unfit> {
        match name {
            "voice" => self.voice = Some(value.text(Self::LONGEST_VOICE)?),
            "volume" => self.volume = Some(value.number()?),
            _ => return Err(Unfit::Unknown),
        }
        Ok(())
    }
}

/// Microphone, loudspeaker and spoken turns. An utterance is one stretch of speech; all signals of a turn
/// carry its number.
#[proxy(
    interface = "org.gemmad1.Voice",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1/voice"
)]
pub trait Voice {
    /// Push to talk: hears one utterance and answers it, in every mode of the configuration. In mode `wake` it has the
    /// effect of the wake word. Returns when the microphone is open.
    fn listen(&self) -> Result<(), Error>;

    /// Speaks `text` through the loudspeaker, after the texts already waiting, and returns when it has been played.
    /// Markdown, addresses and signs are spoken as a person would read them. Speech stops when the caller leaves the
    /// bus. The call may take longer than the usual timeout of 25 s. The limit is 8 waiting texts per client and 32 in
    /// total. An answer of the assistant takes precedence, at the end of a sentence.
    fn say(&self, text: &str, options: SayOptions) -> Result<(), Error>;

    /// Drops the utterance being heard, cancels the answers to spoken turns, and stops speaking.
    fn stop(&self) -> Result<(), Error>;

    /// The microphones and then the loudspeakers that are present; see [`DeviceInfo`]. May take a second.
    fn devices(&self) -> Result<Vec<Dict>, Error>;

    /// Peak level of the open microphone, in dBFS, with a decay of 20 dB in 1.7 s; -96 if none is open. Its changes are
    /// not signalled.
    #[zbus(property(emits_changed_signal = "false"))]
    fn level(&self) -> zbus::Result<f64>;

    /// Whether the microphone is muted. Setting it closes or reopens the device itself.
    #[zbus(property)]
    fn muted(&self) -> zbus::Result<bool>;
    /// See [`Self::muted`].
    #[zbus(property)]
    fn set_muted(&self, muted: bool) -> zbus::Result<()>;

    /// State of the voice.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<VoiceState>;

    /// Name of the microphone in use; empty if none is open.
    #[zbus(property)]
    fn device(&self) -> zbus::Result<String>;

    /// Why the microphone that should be open is not, and what to do; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> zbus::Result<String>;

    /// Name of the loudspeaker in use; empty if none is open.
    #[zbus(property)]
    fn loudspeaker(&self) -> zbus::Result<String>;

    /// Why speech output does not work, and what to do; empty otherwise.
    #[zbus(property)]
    fn speech_problem(&self) -> zbus::Result<String>;

    /// An utterance began.
    #[zbus(signal)]
    fn speech_started(&self, utterance: u64) -> zbus::Result<()>;

    /// The utterance ended. `milliseconds` is its length, including its pre-roll.
    #[zbus(signal)]
    fn speech_ended(&self, utterance: u64, milliseconds: u32) -> zbus::Result<()>;

    /// Transcript of the utterance so far, while it goes on. Each takes the place of the one before. Only with `[voice]
    /// partial_ms`.
    #[zbus(signal)]
    fn partial_transcript(&self, utterance: u64, text: String) -> zbus::Result<()>;

    /// Transcript of the utterance.
    #[zbus(signal)]
    fn transcript(&self, utterance: u64, text: String) -> zbus::Result<()>;

    /// More of the answer to the utterance, as it is written, before [`Self::reply`] has the whole. Answers that may be
    /// commands come whole.
    #[zbus(signal)]
    fn reply_piece(&self, utterance: u64, text: String) -> zbus::Result<()>;

    /// Answer to the utterance, with its statistics ([`crate::Stats`]).
    #[zbus(signal)]
    fn reply(&self, utterance: u64, text: String, stats: Dict) -> zbus::Result<()>;

    /// A keyword was heard. `word` is the file name of its keyword model, and `score` that model's confidence, 0 to 1.
    #[zbus(signal)]
    fn keyword(&self, word: String, meaning: KeywordMeaning, score: f64) -> zbus::Result<()>;

    /// The utterance got no answer. `error` is a D-Bus error name.
    #[zbus(signal)]
    fn failed(&self, utterance: u64, error: String, message: String) -> zbus::Result<()>;
}
