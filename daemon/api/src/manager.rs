//! `org.gemmad1.Manager`: asking, transcribing, and the state of the daemon.

use serde::{Deserialize, Serialize};
use zbus::{OwnedFd, OwnedVariant, Type, Variant, as_variant, proxy};

use crate::options::{FromOptions, Given, Unfit};
use crate::{Dict, Error};

/// Options of `Ask` and `Stream`. All are optional; an unknown one is an error. A number may have any D-Bus type
/// that holds its value. Defaults come from the `[answer]` section of the daemon's configuration.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct AskOptions {
    /// System prompt for this request instead of the configured one; at most 1 MiB.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Sound file (WAV, AIFF, FLAC, MP3, Ogg, MP4, `WebM` or CAF) that the question is about. It is read from its
    /// current position.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub audio: Option<OwnedFd>,
    /// Maximum number of tokens to generate, from 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Minimum number of tokens to generate: the end-of-turn token is not sampled before. For measurements.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<u32>,
    /// Sampling temperature, 0 (greedy) to 2.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Sample from the k likeliest tokens only, from 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Sample from the likeliest tokens of this total probability only; above 0, at most 1.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Seed of the sampler; the same seed gives the same answer.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// JSON Schema as JSON, at most 64 KiB. The answer is then JSON on one line that validates against it. Excludes
    /// `thinking` and `min_tokens`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Lets the model think before it answers. The thought is never shown.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// Lets the model write its protocol, such as calls of tools, into the answer. For measurements.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub protocol: Option<bool>,
    /// Name of one of the caller's conversations, 1 to 64 bytes: the model reads first what was said in it, and question and
    /// answer become part of it. One that does not exist is begun. It answers one question at a time, and excludes `audio`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// Carries out commands that the prompt asks for, as `Commands.Invoke` does, and tells in words what became of them;
    /// while commands are switched off it changes nothing. Set it for words of a person alone: the author of the prompt
    /// gives commands. Excludes all options but `conversation` and `max_tokens`.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub commands: Option<bool>,
}

/// A passage of a prompt, as `Render` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Passage {
    /// What it consists of.
    pub kind: PassageKind,
    /// Its text; empty for sound. The token `<|turn>` and the typed characters `<|turn>` have the same text, but not
    /// the same kind.
    pub text: String,
    /// Tokens, or soft tokens of sound (25 a second).
    pub tokens: u32,
}

/// What a passage of a prompt consists of. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum PassageKind {
    /// Tokens of text.
    #[default]
    Text,
    /// One token of the protocol, such as `<|turn>`.
    Control,
    /// Soft tokens of sound.
    Sound,
}

/// Options of `Transcribe`.
#[derive(Debug, Default, Serialize, Type)]
#[zbus(signature = "a{sv}")]
pub struct TranscribeOptions {
    /// Language of the speech and of the text, as an English word, such as `German`; `auto`: whichever is spoken.
    #[serde(with = "as_variant::optional", skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl TranscribeOptions {
    /// Maximum length of a language name, in bytes: 40 letters of any alphabet.
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
    /// Maximum length of a system prompt, in bytes: 1 MiB, the same as of a prompt.
    pub const LONGEST_SYSTEM: usize = 1 << 20;

    /// Maximum length of a schema, in bytes: 64 KiB, more than people write, and little enough to compile.
    pub const LONGEST_SCHEMA: usize = 1 << 16;

    /// Maximum length of a conversation's name, in bytes.
    pub const LONGEST_CONVERSATION: usize = 64;
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
        "protocol",
        "conversation",
        "commands",
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
            "protocol" => self.protocol = Some(value.flag()?),
            "conversation" => self.conversation = Some(value.text(Self::LONGEST_CONVERSATION)?),
            "commands" => self.commands = Some(value.flag()?),
            _ => return Err(Unfit::Unknown),
        }
        Ok(())
    }
}

/// State of the daemon. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum ManagerState {
    /// Just started; no model is loaded yet.
    #[default]
    Starting,
    /// The model is being loaded.
    Loading,
    /// Questions are answered.
    Ready,
    /// Running, but something is missing; the property `Problem` says what.
    Degraded,
    /// The last requests to the model are being answered; then its memory is given back.
    Unloading,
    /// Running without a model in memory; the next request loads it.
    Unloaded,
    /// Shutting down.
    Stopping,
}

/// Snapshot of the engine's load. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Requests being prefilled or decoded.
    pub active: u32,
    /// Requests waiting for a place.
    pub queued: u32,
    /// Turns whose utterance is being heard.
    pub turns: u32,
    /// Sound of those turns that is not yet in the KV cache, in milliseconds. More than 500 means that
    /// the machine does not keep up.
    pub backlog_ms: u32,
    /// Cells of the KV cache that are in use or reserved, including those of the system prompt.
    pub cells_used: u32,
    /// Cells of the KV cache in total.
    pub cells_total: u32,
    /// Cells that hold the system prompt, shared by every request.
    pub prefix_cells: u32,
    /// Cells of the context that a question too long for the KV cache has of its own; 0 if there is none.
    pub long_cells: u32,
    /// Requests finished since the model was loaded, including cancelled ones.
    pub finished: u64,
}

impl Health {
    /// Whether nothing is under way, waits, or is being heard.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.active == 0 && self.queued == 0 && self.turns == 0
    }
}

/// Memory of the model. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Bytes that the loaded model takes, as predicted before it was loaded, with everything that belongs to it; 0 while
    /// none is loaded.
    pub planned: u64,
    /// Bytes that the system has left for the daemon; 0 if unknown.
    pub available: u64,
}

/// The daemon as a whole.
#[proxy(
    interface = "org.gemmad1.Manager",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1"
)]
pub trait Manager {
    /// Answers `prompt`, at most 1 MiB, and returns the whole text and its statistics. Meant for `busctl`: the call may
    /// take longer than the usual timeout of 25 s, so programs use `Stream`. The request is cancelled when the caller
    /// leaves the bus.
    fn ask(&self, prompt: &str, options: AskOptions) -> Result<(String, Dict), Error>;

    /// Answers `prompt` as JSON lines ([`crate::Event`]) on `fd`, the write end of a pipe or a connected Unix
    /// stream socket. Returns the number of the request as soon as it has a place. Closing the read end cancels
    /// the request; leaving the bus does not. A slow reader delays only its own answer; one that reads nothing for five
    /// minutes loses it. The limit is 8 open streams per client and 64 in total.
    fn stream(&self, prompt: &str, options: AskOptions, fd: zbus::Fd<'_>) -> Result<u64, Error>;

    /// Transcribes the sound file behind `fd` (WAV, AIFF, FLAC, MP3, Ogg, MP4, `WebM` or CAF, at most 30 s).
    /// Returns the text and its statistics.
    fn transcribe(
        &self,
        fd: zbus::Fd<'_>,
        options: TranscribeOptions,
    ) -> Result<(String, Dict), Error>;

    /// Renders `prompt` with the model's chat template, and returns what the model would read if it were asked:
    /// the text, the tokens of the protocol, and the place of the sound. Nothing is computed.
    fn render(&self, prompt: &str, options: AskOptions) -> Result<Vec<Passage>, Error>;

    /// Reads the configuration file again and puts it into force, except `[engine]`, which needs a restart. A changed
    /// `[model]` is loaded after this call; what was asked before is answered first, and later requests wait. Returns the
    /// keys, as `section.key`, that changed, and those that wait for the restart. Allowed for root and for users to whom polkit grants `org.gemmad1.manage`; on the
    /// session bus for every caller.
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> Result<(Vec<String>, Vec<String>), Error>;

    /// Loads the configured model, unless it is in memory, and returns once it is. After a failure it tries again. Allowed
    /// for those who may reload.
    #[zbus(allow_interactive_auth)]
    fn load_model(&self) -> Result<(), Error>;

    /// Gives back the memory of the model, and returns then: what was asked of it before is answered first. The next
    /// request loads it again, and waits for that. Allowed for those who may reload.
    #[zbus(allow_interactive_auth)]
    fn unload_model(&self) -> Result<(), Error>;

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// State of the daemon.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<ManagerState>;

    /// Name of the loaded model as its file gives it; empty while none is loaded.
    #[zbus(property)]
    fn model(&self) -> zbus::Result<String>;

    /// Why the loaded model hears nothing; empty if it hears, and while none is loaded.
    #[zbus(property)]
    fn deaf(&self) -> zbus::Result<String>;

    /// Why the state is `degraded`, and what to do; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> zbus::Result<String>;

    /// Load of the engine; see [`Health`].
    #[zbus(property(emits_changed_signal = "false"))]
    fn health(&self) -> zbus::Result<Dict>;

    /// Memory of the model; see [`Memory`].
    #[zbus(property(emits_changed_signal = "false"))]
    fn memory(&self) -> zbus::Result<Dict>;
}
