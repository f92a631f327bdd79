//! `org.gemmad1.Voice`: the microphone, and what is said into it.

use serde::{Deserialize, Serialize};
use zbus::{OwnedVariant, Type, Variant, as_variant, proxy};

use crate::options::{FromOptions, Given, Unfit};
use crate::{Dict, Error};

/// What the voice is doing, as the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum VoiceState {
    /// Not listening: switched off, muted, or no microphone.
    #[default]
    Off,
    /// Waiting for somebody to speak.
    Waiting,
    /// Somebody is speaking, or is about to: they said the wake word, or may follow up on an answer.
    Listening,
    /// The model is working on what was said.
    Thinking,
    /// The answer is being spoken.
    Speaking,
}

/// What a device is for, as the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Sound comes in.
    #[default]
    Microphone,
    /// Sound goes out.
    Loudspeaker,
}

/// What a word is for that is known without the model, as the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum KeywordMeaning {
    /// What follows is for the assistant.
    #[default]
    Wake,
    /// All that is under way ends.
    Halt,
}

/// A microphone or loudspeaker. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// What it is for.
    pub kind: DeviceKind,
    /// What `device` in the daemon's configuration is set to for it.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Whether it is taken when the configuration names none.
    pub is_default: bool,
    /// Whether it is open.
    pub in_use: bool,
}

/// Options of `Say`. Every one may be left out; an unknown one is an error. Defaults come from the
/// `[speech]` section of the daemon's configuration.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct SayOptions {
    /// A voice of the synthesiser, such as `de` or `en-gb`: letters, digits, `+`, `-`, `_` and `.`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Above 0, to 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub volume: Option<f64>,
}

impl SayOptions {
    /// Most bytes of the name of a voice.
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

/// The microphone and the spoken turn. An utterance is one stretch of speech; its number ties the
/// signals of a turn together.
#[proxy(
    interface = "org.gemmad1.Voice",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1/voice"
)]
pub trait Voice {
    /// Push to talk: hears one utterance, whatever the mode in the configuration, and answers it. In mode `wake` it
    /// is as if the wake word had been said. Returns when the microphone is open.
    fn listen(&self) -> Result<(), Error>;

    /// Says `text` through the loudspeaker, after what is being said already, and returns when it was heard.
    /// Markdown, addresses and signs are said as a person would read them. It falls silent when the caller
    /// leaves the bus. May take longer than the usual 25 s of a call. One client may have 8 texts waiting, all
    /// together 32. An answer of the assistant's goes first, at the end of a sentence.
    fn say(&self, text: &str, options: SayOptions) -> Result<(), Error>;

    /// Drops the utterance being heard, cancels the answers being made for spoken turns, and falls silent.
    fn stop(&self) -> Result<(), Error>;

    /// The microphones and then the loudspeakers that are there; see [`DeviceInfo`]. May take a second.
    fn devices(&self) -> Result<Vec<Dict>, Error>;

    /// How loud the open microphone is: the peak in dB of full scale, which falls by 20 dB in 1.7 s; -96 where none is
    /// open. Its changes are not signalled.
    #[zbus(property(emits_changed_signal = "false"))]
    fn level(&self) -> zbus::Result<f64>;

    /// Whether the microphone is closed. Setting it closes or opens the device itself.
    #[zbus(property)]
    fn muted(&self) -> zbus::Result<bool>;
    /// See [`Self::muted`].
    #[zbus(property)]
    fn set_muted(&self, muted: bool) -> zbus::Result<()>;

    /// What the voice is doing.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<VoiceState>;

    /// Name of the microphone in use; empty when none is.
    #[zbus(property)]
    fn device(&self) -> zbus::Result<String>;

    /// Why there is no microphone although there should be one, and what to do; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> zbus::Result<String>;

    /// Name of the loudspeaker in use; empty when none is open.
    #[zbus(property)]
    fn loudspeaker(&self) -> zbus::Result<String>;

    /// Why nothing can be said, and what to do; empty otherwise.
    #[zbus(property)]
    fn speech_problem(&self) -> zbus::Result<String>;

    /// Somebody began to speak.
    #[zbus(signal)]
    fn speech_started(&self, utterance: u64) -> zbus::Result<()>;

    /// They stopped. `milliseconds` is the length of the utterance, its pre-roll included.
    #[zbus(signal)]
    fn speech_ended(&self, utterance: u64, milliseconds: u32) -> zbus::Result<()>;

    /// What was said.
    #[zbus(signal)]
    fn transcript(&self, utterance: u64, text: String) -> zbus::Result<()>;

    /// The answer, with its statistics ([`crate::Stats`]).
    #[zbus(signal)]
    fn reply(&self, utterance: u64, text: String, stats: Dict) -> zbus::Result<()>;

    /// A word was said that is known without the model: the name of its model's file, what it is for, and how sure
    /// that model is, 0 to 1.
    #[zbus(signal)]
    fn keyword(&self, word: String, meaning: KeywordMeaning, score: f64) -> zbus::Result<()>;

    /// The utterance got no answer. `error` is a D-Bus error name.
    #[zbus(signal)]
    fn failed(&self, utterance: u64, error: String, message: String) -> zbus::Result<()>;
}
