//! The microphone and the loudspeaker: the keys of `[voice]` and `[speech]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bounded, Fraction};

/// When the microphone listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All speech is heard and answered.
    Always,
    /// Utterances after the wake word, and those within `follow_up_ms` after a reply.
    Wake,
    /// One utterance for each `Voice.Listen`.
    #[default]
    Push,
    /// Never; no device is opened.
    Off,
}

/// Strength of the noise suppression.
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
    /// Channel of the input device, from 1. 0: one or two channels are mixed; of three or more the first is used.
    pub channel: Bounded<0, 64>,
    /// Also transcribe each utterance, besides answering it.
    pub transcript: bool,
    /// Shortest time between two transcripts of an utterance that goes on; 0: there are none.
    pub partial_ms: Bounded<0, 60_000>,
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
    /// Silence that ends an utterance that is already a complete command, if that is known by then.
    pub endpoint_command_ms: Bounded<100, 5000>,
    /// Silence that ends an utterance that is no command although one is expected, because it may be half of one.
    pub endpoint_doubt_ms: Bounded<100, 5000>,
    /// Begin the answer at a pause that may be the endpoint; drop it if the speech goes on.
    pub speculative: bool,
    /// Longest pause between the wake word and the utterance.
    pub awake_ms: Bounded<500, 60_000>,
    /// Longest pause after a reply before an utterance needs the wake word again; 0: it is always needed.
    pub follow_up_ms: Bounded<0, 60_000>,
    /// Whether speech over the assistant's own silences it and is heard (barge-in). If not, only the words of
    /// `[keyword]` are heard while it speaks.
    pub barge_in: bool,
    /// Noise suppression of the sound that the model hears.
    pub noise_suppression: Suppression,
    /// Whether the sound that the model hears is brought to one level, whatever the distance of the speaker.
    pub gain_control: bool,
    /// Longest utterance. A second takes 25 soft tokens of the context, and the model hears spans of 30 s at most.
    pub longest_ms: Bounded<1000, 120_000>,
    /// Folder into which every utterance is written as the model hears it, for diagnosis; empty: none is written.
    pub record: String,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            mode: Mode::Push,
            device: String::new(),
            channel: Bounded(0),
            transcript: true,
            partial_ms: Bounded(0),
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
    /// Whether replies to speech are spoken. Texts that a client asks to have spoken always are.
    pub enabled: bool,
    /// Output device by id or name as the sound system gives it; empty: its default.
    pub device: String,
    /// The speech synthesis program and its arguments, in which `{voice}` and `{language}` are replaced. It
    /// reads one sentence from its standard input and writes a WAV file, or 16-bit mono samples, to its
    /// standard output.
    pub command: Vec<String>,
    /// Sample rate of output without a header, in Hz; 0: the program writes WAV files.
    pub rate: Bounded<0, 192_000>,
    /// The voice, by its name in the program.
    pub voice: String,
    /// Voices for sentences in other languages, by the code of the language; `None`: the codes are the voices if the
    /// program is espeak-ng, and else there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voices: Option<BTreeMap<String, String>>,
    /// Language of the spoken text, such as `en` or `de`, if the name of the voice does not tell it. In English, signs
    /// and units become words.
    pub language: String,
    /// Factor by which samples are multiplied.
    pub volume: Fraction,
    /// Whether a short sound signals that the wake word was heard, or that there is no answer.
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
            voices: None,
            language: "en".into(),
            volume: Fraction(1.0),
            earcons: false,
        }
    }
}
