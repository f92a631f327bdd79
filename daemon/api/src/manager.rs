//! `org.gemmad1.Manager`: asking, transcribing, and how the daemon is.

use serde::{Deserialize, Serialize};
use zbus::{OwnedFd, OwnedVariant, Type, Variant, as_variant, proxy};

use crate::options::{FromOptions, Given, Unfit};
use crate::{Dict, Error};

/// Options of `Ask` and `Stream`. Every one may be left out; an unknown one is an error. A number may have any
/// D-Bus type that holds it. Defaults come from the `[answer]` section of the daemon's configuration.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct AskOptions {
    /// System prompt for this request, instead of the configured one; 1 MiB at most.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// A sound file (WAV, AIFF, FLAC, MP3, Ogg, MP4, `WebM` or CAF) that the question is about, to be read from its
    /// current position.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub audio: Option<OwnedFd>,
    /// Most tokens to generate, from 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Fewest tokens to generate: the end of the turn is not drawn before. For measurements.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<u32>,
    /// Sampling temperature, 0 (greedy) to 2.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Keep the k likeliest tokens, from 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens of this total probability, above 0, to 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Seed of the sampler; the same seed gives the same answer.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// JSON Schema, in JSON of 256 KiB at most, that the answer has to validate against; it is JSON on one line
    /// then. Goes with neither `thinking` nor `min_tokens`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Let the model think before it answers. The thought is never shown.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
}

/// Options of `Transcribe`.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct TranscribeOptions {
    /// Language of the speech and of the text, as an English word, such as `German`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl TranscribeOptions {
    /// Most bytes of the name of a language: 40 letters of any alphabet.
    pub const LONGEST_LANGUAGE: usize = 160;
}

impl FromOptions for TranscribeOptions {
    const NAMES: &'static [&'static str] = &["language"];

    fn set(&mut self, name: &str, value: Given<'_>) -> Result<(), Unfit> {
        match name {
            "language" => self.language = Some(value.text(Self::LONGEST_LANGUAGE)?),
            _ => return Err(Unfit::Unknown),
        }
        Ok(())
    }
}

impl AskOptions {
    /// Most bytes of a system prompt: as many as of a prompt.
    pub const LONGEST_SYSTEM: usize = 1 << 20;

    /// Most bytes of a schema: more than people write, and little enough to compile.
    pub const LONGEST_SCHEMA: usize = 1 << 16;
}

impl FromOptions for AskOptions {
    const NAMES: &'static [&'static str] = &[
        "system",
        "audio",
        "max_tokens",
        "min_tokens",
        "temperature",
        "top_k",
        "top_p",
        "seed",
        "schema",
        "thinking",
    ];

    fn set(&mut self, name: &str, value: Given<'_>) -> Result<(), Unfit> {
        match name {
            "system" => self.system = Some(value.text(Self::LONGEST_SYSTEM)?),
            "audio" => self.audio = Some(value.descriptor()?),
            "max_tokens" => self.max_tokens = Some(value.whole()?),
            "min_tokens" => self.min_tokens = Some(value.whole()?),
            "temperature" => self.temperature = Some(value.number()?),
            "top_k" => self.top_k = Some(value.whole()?),
            "top_p" => self.top_p = Some(value.number()?),
            "seed" => self.seed = Some(value.whole()?),
            "schema" => self.schema = Some(value.text(Self::LONGEST_SCHEMA)?),
            "thinking" => self.thinking = Some(value.flag()?),
            _ => return Err(Unfit::Unknown),
        }
        Ok(())
    }
}

/// What the daemon is doing, as the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum ManagerState {
    /// Just started; nothing is loaded.
    #[default]
    Starting,
    /// The model is being loaded.
    Loading,
    /// Questions are answered.
    Ready,
    /// Running, but something is missing; the property `Problem` says what.
    Degraded,
    /// Going away.
    Stopping,
}

/// What the engine is carrying now; a snapshot. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Requests being prefilled or decoded.
    pub active: u32,
    /// Requests waiting for a place.
    pub queued: u32,
    /// Turns being spoken.
    pub turns: u32,
    /// Sound of those turns that is not in the KV cache yet, in milliseconds. More than half a second
    /// means that the machine does not keep up.
    pub backlog_ms: u32,
    /// Cells of the KV cache in use or set aside, the system prompt's included.
    pub cells_used: u32,
    /// Cells of the KV cache.
    pub cells_total: u32,
    /// Cells that hold the system prompt, shared by every request.
    pub prefix_cells: u32,
    /// Requests finished since the model was loaded, cancelled ones included.
    pub finished: u64,
}

/// The daemon as a whole.
#[proxy(
    interface = "org.gemmad1.Manager",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1"
)]
pub trait Manager {
    /// Answers `prompt`, of 1 MiB at most, and returns the whole text and its statistics. For anyone with `busctl`;
    /// a call may take longer than the usual 25 s, so programs prefer `Stream`. The request is
    /// cancelled when the caller leaves the bus.
    fn ask(&self, prompt: &str, options: AskOptions) -> Result<(String, Dict), Error>;

    /// Answers `prompt` as JSON lines ([`crate::Event`]) on `fd`, the write end of a pipe or a connected Unix
    /// stream socket. Returns the number of the request as soon as it has a place. Closing the read end cancels
    /// it; a slow reader slows only itself, and one that takes nothing for five minutes loses its answer. One
    /// client may have 8 streams open, all together 64.
    fn stream(&self, prompt: &str, options: AskOptions, fd: zbus::Fd<'_>) -> Result<u64, Error>;

    /// Transcribes the sound file behind `fd` (WAV, AIFF, FLAC, MP3, Ogg, MP4, `WebM` or CAF, 30 s at most).
    fn transcribe(
        &self,
        fd: zbus::Fd<'_>,
        options: TranscribeOptions,
    ) -> Result<(String, Dict), Error>;

    /// Reads the configuration file again and puts it into force, except `[model]` and `[engine]`, which
    /// need a restart. Returns the keys, as `section.key`, that changed, and those that wait for the
    /// restart. For root, and whom polkit allows `org.gemmad1.manage`; on the session bus for
    /// everybody.
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> Result<(Vec<String>, Vec<String>), Error>;

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// What the daemon is doing.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<ManagerState>;

    /// Name of the loaded model as its file gives it; empty while none is loaded.
    #[zbus(property)]
    fn model(&self) -> zbus::Result<String>;

    /// Why the state is `degraded`, and what to do; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> zbus::Result<String>;

    /// What the engine is carrying now, see [`Health`].
    #[zbus(property(emits_changed_signal = "false"))]
    fn health(&self) -> zbus::Result<Dict>;
}
