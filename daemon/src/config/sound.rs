//! What is heard and what is said: the keys of `[voice]` and `[speech]`.

use serde::{Deserialize, Serialize};

use super::{Bounded, Fraction};

/// When the microphone listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Whatever is said is heard and answered.
    Always,
    /// Each utterance that follows the wake word, and those that follow an answer at once.
    Wake,
    /// One utterance for each `Voice.Listen`.
    #[default]
    Push,
    /// Never; no device is opened.
    Off,
}

/// How much noise is taken out of what the model hears.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Suppression {
    /// None.
    #[default]
    Off,
    /// About 6 dB.
    Low,
    /// About 12 dB.
    Moderate,
    /// About 18 dB.
    High,
}

/// `[voice]`. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a file, each for itself"
)]
pub struct Voice {
    /// When the microphone listens.
    pub mode: Mode,
    /// Input device by id or name as the sound system gives it; empty: its default.
    pub device: String,
    /// Channel of the microphone that is heard, counted from 1; 0: one or two are mixed, of more the first is heard.
    pub channel: Bounded<0, 64>,
    /// Also transcribe what was said, besides answering it.
    pub transcript: bool,
    /// Probability of speech that opens an utterance. A 440 Hz tone scores up to 0.8.
    pub open: Fraction,
    /// Probability below which a frame counts as silence once an utterance is open.
    pub close: Fraction,
    /// Speech needed before an utterance opens.
    pub onset_ms: Bounded<16, 2000>,
    /// Sound kept from before the onset, so that the first syllable is not lost.
    pub pre_roll_ms: Bounded<0, 2000>,
    /// Silence that ends an utterance.
    pub endpoint_ms: Bounded<100, 5000>,
    /// Silence that ends an utterance which is a whole command already, if that is known by then.
    pub endpoint_command_ms: Bounded<100, 5000>,
    /// Silence that ends an utterance which is no command, where one is expected: half of one, perhaps.
    pub endpoint_doubt_ms: Bounded<100, 5000>,
    /// Begin the answer at a pause that may be the end; drop it if the person goes on.
    pub speculative: bool,
    /// How long somebody may take to begin to speak after the wake word.
    pub awake_ms: Bounded<500, 60_000>,
    /// How long somebody may take to go on after an answer, without the wake word; 0: it is always needed.
    pub follow_up_ms: Bounded<0, 60_000>,
    /// Whether somebody who speaks over the assistant silences it and is heard; else nothing is heard while it speaks
    /// but words of `[keyword]`.
    pub barge_in: bool,
    /// Noise suppression of what the model hears.
    pub noise_suppression: Suppression,
    /// Whether what the model hears is brought to the same level, however far away somebody is.
    pub gain_control: bool,
    /// Longest utterance. The model hears 25 rows of the context a second, in spans of 30 s at most.
    pub longest_ms: Bounded<1000, 120_000>,
    /// Folder into which every utterance is written as the model hears it, to find out what is wrong; empty: none is.
    pub record: String,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            mode: Mode::Push,
            device: String::new(),
            channel: Bounded(0),
            transcript: true,
            open: Fraction(0.8),
            close: Fraction(0.55),
            onset_ms: Bounded(96),
            pre_roll_ms: Bounded(300),
            endpoint_ms: Bounded(500),
            endpoint_command_ms: Bounded(400),
            endpoint_doubt_ms: Bounded(1000),
            speculative: true,
            awake_ms: Bounded(6000),
            follow_up_ms: Bounded(5000),
            barge_in: true,
            noise_suppression: Suppression::Off,
            gain_control: false,
            longest_ms: Bounded(30_000),
            record: String::new(),
        }
    }
}

/// `[speech]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speech {
    /// Whether answers to what was said are spoken. What is to be said by wish always is.
    pub enabled: bool,
    /// Output device by id or name as the sound system gives it; empty: its default.
    pub device: String,
    /// The program that makes sound of text, and its arguments, in which `{voice}` and `{language}` are
    /// replaced. It reads one sentence from its standard input and writes a WAV file, or 16-bit mono samples,
    /// to its standard output.
    pub command: Vec<String>,
    /// Rate of samples without a header; 0: the program writes WAV files.
    pub rate: Bounded<0, 192_000>,
    /// A voice of the program.
    pub voice: String,
    /// Language of what is said, such as `en` or `de`, if the name of the voice does not tell it; in English, signs and
    /// units become words.
    pub language: String,
    /// What samples are multiplied with.
    pub volume: Fraction,
    /// Whether a short sound tells that the wake word was heard, or that there is no answer.
    pub earcons: bool,
}

impl Default for Speech {
    fn default() -> Self {
        let command = ["espeak-ng", "--stdin", "--stdout", "-v", "{voice}"];
        Self {
            enabled: false,
            device: String::new(),
            command: command.map(Into::into).into(),
            rate: Bounded(0),
            voice: "en-us".into(),
            language: "en".into(),
            volume: Fraction(1.0),
            earcons: false,
        }
    }
}
