//! The configuration: typed, with a default for every key, checked as it is read.
//!
//! A file with a mistake is refused as a whole, with the place and the key, because a daemon that
//! ignores half of its configuration is worse than one that does not start. Ranges are part of the
//! types ([`Bounded`], [`Fraction`]), so every value that was read is valid.
//!
//! | file | owns |
//! |---|---|
//! | here | the keys and their defaults; reading a file |
//! | `value` | numbers whose range is part of their type |
//! | `sound` | the keys of `[voice]` and `[speech]` |
//! | `commands` | the keys of `[commands]` |
//! | `conversation` | the keys of `[conversation]` |
//! | `keyword` | the keys of `[keyword]` |
//! | `mistake` | what is wrong in a file, and where |
//! | `settings` | the configuration in force, and what a reload changes |

mod commands;
mod conversation;
mod keyword;
mod mistake;
mod settings;
mod sound;
mod value;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::platform::file::{self, FileProblem, shown};

pub use commands::{Certainty, Commands};
pub use conversation::Conversation;
pub use keyword::{Keyword, Meaning, Word};
pub use mistake::{Mistake, read_toml};
pub use settings::{Follow, Reloaded, Settings};
pub use sound::{Mode, Speech, Suppression, Voice};
pub use value::{Bounded, Fraction, Temperature};

/// Longest file, in bytes. The shipped one, which explains every key, has 8,000.
const LONGEST_FILE: usize = 256 * 1024;

/// The contents of `gemmad.toml`. `configs/gemmad.toml` documents each key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model, and where it runs.
    pub model: Model,
    /// How the engine shares the model among requests.
    pub engine: Engine,
    /// How answers are generated, unless a request says otherwise.
    pub answer: Answer,
    /// What is remembered of conversations.
    pub conversation: Conversation,
    /// How sound becomes text.
    pub transcribe: Transcribe,
    /// The microphone and the spoken turn.
    pub voice: Voice,
    /// Words that are spotted without the model.
    pub keyword: Keyword,
    /// The loudspeaker and the speech synthesis.
    pub speech: Speech,
    /// The catalogue of commands.
    pub commands: Commands,
    /// The level and the content of the log.
    pub log: Log,
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// The text model, a GGUF file. A relative path starts at the configuration file's folder.
    pub text: PathBuf,
    /// Its multimodal projector with the audio encoder, a GGUF file; empty: the model takes no sound.
    pub mmproj: PathBuf,
    /// Layers offloaded to a GPU, when built with one.
    pub gpu_layers: u32,
    /// Repack weights for this CPU's matrix kernels while loading: faster prefill, more memory.
    pub repack: bool,
    /// How the mel spectrogram treats silence.
    pub mel: Mel,
    /// How the audio encoder's large matrices are held in memory.
    pub encoder_weights: EncoderWeights,
}

/// How the audio encoder's large matrices are held in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum EncoderWeights {
    /// As in the file.
    #[default]
    #[serde(rename = "stored")]
    Stored,
    /// In 8 bits: half the memory of a 16-bit file.
    #[serde(rename = "q8_0")]
    Q8,
}

/// How the logarithm in the mel spectrogram treats silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Mel {
    /// As in the published reference, with which Gemma 4 was trained.
    #[default]
    #[serde(rename = "gemma")]
    Gemma,
    /// As in llama.cpp, to compare with it.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
}

impl Default for Model {
    fn default() -> Self {
        let folder = Path::new("/usr/share/gemmad/models/nano");
        Self {
            text: folder.join("nano-f16.gguf"),
            mmproj: folder.join("nano-f16.mmproj.gguf"),
            gpu_layers: 999,
            repack: true,
            mel: Mel::Gemma,
            encoder_weights: EncoderWeights::Stored,
        }
    }
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Compute threads. 0: one for each core that the process may use, at most 4. Never more than there are cores.
    pub threads: Bounded<0, 256>,
    /// Cells of the KV cache, shared by all requests, in tokens.
    pub context: Bounded<256, 1_048_576>,
    /// Fewest cells, when there is not enough memory for `context`.
    pub least_context: Bounded<256, 1_048_576>,
    /// Longest question, in tokens. One that does not fit into the shared cells gets a context of its own.
    pub longest_question: Bounded<256, 1_048_576>,
    /// How such a context holds keys and values.
    pub long_cache: LongCache,
    /// Load a model even if there is not enough memory for it.
    pub overcommit: bool,
    /// Questions answered at the same time, each with an equal share of the cells guaranteed. One more place is
    /// reserved for speech.
    pub parallel: Bounded<1, 16>,
    /// Most requests that wait for a place. One more gets the error `Busy`.
    pub queue: Bounded<0, 1024>,
    /// Most prompt tokens in one batch. Cancellation and the priority of speech take effect between two batches, so a
    /// smaller value reacts sooner and a larger one prefills faster.
    pub batch: Bounded<16, 4096>,
    /// Seconds without a request after which the model's memory is given back; the next request loads it again. 0: never.
    pub unload_after_s: Bounded<0, 604_800>,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            threads: Bounded(0),
            context: Bounded(4096),
            least_context: Bounded(1024),
            longest_question: Bounded(131_072),
            long_cache: LongCache::F16,
            overcommit: false,
            parallel: Bounded(2),
            queue: Bounded(16),
            batch: Bounded(128),
            unload_after_s: Bounded(0),
        }
    }
}

/// How the KV cache of a long question holds its numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum LongCache {
    /// In 16 bits.
    #[default]
    #[serde(rename = "f16")]
    F16,
    /// In 8 bits: about half the memory, and answers that differ slightly.
    #[serde(rename = "q8_0")]
    Q8,
}

/// `[answer]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// System prompt of requests without one; empty: no system turn.
    pub system: String,
    /// Most tokens of an answer.
    pub max_tokens: Bounded<1, 1_048_576>,
    /// Sampling temperature; 0 is greedy.
    pub temperature: Temperature,
    /// Keep the k likeliest tokens.
    pub top_k: Bounded<1, 1_048_576>,
    /// Keep the likeliest tokens of this total probability.
    pub top_p: Fraction,
    /// Tell the model the date and the time with each question.
    pub clock: bool,
}

impl Default for Answer {
    /// Temperature, top-k and top-p are Google's recommendation for Gemma 4.
    fn default() -> Self {
        Self {
            system: String::new(),
            max_tokens: Bounded(512),
            temperature: Temperature(1.0),
            top_k: Bounded(64),
            top_p: Fraction(0.95),
            clock: true,
        }
    }
}

/// `[transcribe]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transcribe {
    /// The prompt after the sound; `{language}` is replaced.
    pub prompt: String,
    /// Language of the speech and of the text, as an English word; [`Transcribe::AUTO`]: whichever is spoken.
    pub language: String,
}

impl Transcribe {
    /// The language of speech in any language.
    pub const AUTO: &str = "auto";

    /// The prompt for speech in `language`. For any language it is, like the default for one, a prompt that Gemma 4 was
    /// trained on (ai.google.dev/gemma/docs/capabilities/audio).
    #[must_use]
    pub fn prompt_for(&self, language: &str) -> String {
        if language.eq_ignore_ascii_case(Self::AUTO) {
            let prompt = self.prompt.replace(
                "in {language} into {language} text",
                "in its original language",
            );
            prompt.replace("{language}", "original language")
        } else {
            self.prompt.replace("{language}", language)
        }
    }
}

impl Default for Transcribe {
    /// The prompt is the one with which Gemma 4 was trained (its model card, "Audio").
    fn default() -> Self {
        Self {
            prompt: "Transcribe the following speech segment in {language} into {language} text.\n\
                     \n\
                     Follow these specific instructions for formatting the answer:\n\
                     * Only output the transcription, with no newlines.\n\
                     * When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, \
                     and write 3 instead of three."
                .into(),
            language: "English".into(),
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least important level that is logged.
    pub level: Level,
    /// Also log prompts and transcripts. Every reader of the journal can then read them.
    pub content: bool,
}

/// A log level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something will fail unless an operator acts.
    Warn,
    /// Of interest to an operator.
    #[default]
    Info,
    /// Of interest to a developer.
    Debug,
}

impl From<Level> for log::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("cannot read the configuration: {0}; --config names another one")]
    Unreadable(#[from] FileProblem),
    /// A key is unknown, of the wrong type, or out of range.
    #[error(
        "{}:{mistake}; see gemmad.toml(5) for every key and its default",
        shown(path)
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        mistake: Mistake,
    },
    /// Keys that are valid each for itself, but not together.
    #[error("{}: {key}: {why}", shown(path))]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The key that is easiest to correct.
        key: &'static str,
        /// The problem and the remedy.
        why: &'static str,
    },
}

impl Config {
    /// Reads and checks `path`. Relative paths are made absolute from its folder.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or holds an invalid key or value.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse(path, &file::read_text(path, LONGEST_FILE)?)?;
        if let Some((key, why)) = config.contradiction() {
            let path = path.into();
            return Err(ConfigError::Contradiction { path, key, why });
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        config.model.text = folder.join(&config.model.text);
        if !config.model.mmproj.as_os_str().is_empty() {
            config.model.mmproj = folder.join(&config.model.mmproj);
        }
        for commands in &mut config.commands.folders {
            *commands = folder.join(&commands);
        }
        for word in &mut config.keyword.words {
            word.model = folder.join(&word.model);
        }
        Ok(config)
    }

    /// The first key that contradicts others, and why.
    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let Self {
            model,
            voice,
            keyword,
            speech,
            commands,
            ..
        } = self;
        let is_said = |list: &[String]| {
            let is_word = |it: &String| it.contains(char::is_alphanumeric);
            !list.is_empty() && list.iter().all(is_word)
        };
        let lower = |list: &[String]| list.iter().map(|it| it.to_lowercase()).collect::<Vec<_>>();
        let (yes, no) = (lower(&commands.yes), lower(&commands.no));
        [
            (
                model.text.as_os_str().is_empty(),
                "model.text",
                "it names no file; name a model, a GGUF file, or leave it out for the one in the package",
            ),
            (
                voice.close.get() > voice.open.get(),
                "voice.close",
                "it is above voice.open, so speech would end before it begins; set it to that or less",
            ),
            (
                voice.mode == Mode::Wake && !keyword.words.iter().any(|it| it.means == Meaning::Wake),
                "keyword.words",
                "no word wakes, and [voice] mode \"wake\" needs one; add a word with means = \"wake\", or choose another mode",
            ),
            (
                speech.command.is_empty(),
                "speech.command",
                "it names no program; name one, or leave it out for espeak-ng",
            ),
            (
                !is_said(&yes),
                "commands.yes",
                "nobody can say it; name words, or leave it out",
            ),
            (
                !is_said(&no),
                "commands.no",
                "nobody can say it; name words, or leave it out",
            ),
            (
                yes.iter().any(|it| no.contains(it)),
                "commands.no",
                "it has words of commands.yes; leave them out of one of the two",
            ),
            (
                commands.enabled && commands.folders.is_empty(),
                "commands.folders",
                "it names no folder to read commands from; name one, or set enabled = false",
            ),
        ]
        .into_iter()
        .find_map(|(is_wrong, key, why)| is_wrong.then_some((key, why)))
    }

    /// The keys, as `section.key`, whose values differ in `other`.
    fn differences(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.sections(), other.sections());
        let mut keys = Vec::new();
        for (section, value) in &ours {
            let keys_of = value.as_table().into_iter().flatten();
            let theirs = theirs.get(section);
            let differing =
                keys_of.filter(|(key, value)| theirs.and_then(|it| it.get(key)) != Some(value));
            keys.extend(differing.map(|(key, _)| format!("{section}.{key}")));
        }
        keys
    }

    /// Every key with its value.
    fn sections(&self) -> toml::Table {
        // Serialising fails only for a path that is not UTF-8, and paths from the configuration are UTF-8.
        toml::Table::try_from(self).unwrap_or_default()
    }

    fn parse(path: &Path, toml: &str) -> Result<Self, ConfigError> {
        read_toml(toml).map_err(|mistake| ConfigError::Invalid {
            path: path.into(),
            mistake,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str) -> String {
        Config::parse(Path::new("/etc/gemmad/gemmad.toml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_shipped_file_says_exactly_the_defaults() {
        let path = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../configs/gemmad.toml"
        ));
        assert_eq!(Config::load(path).unwrap(), Config::default());
    }

    #[test]
    fn speech_is_transcribed_in_one_language_or_in_its_own() {
        let begins = |language: &str| {
            let prompt = Transcribe::default().prompt_for(language);
            assert!(!prompt.contains('{'), "{prompt}");
            prompt.lines().next().unwrap().to_owned()
        };
        assert_eq!(
            begins("German"),
            "Transcribe the following speech segment in German into German text."
        );
        let any = "Transcribe the following speech segment in its original language.";
        assert_eq!([begins("auto"), begins("Auto")], [any, any]);
        let own = Transcribe {
            prompt: "Write down the {language}.".into(),
            ..Transcribe::default()
        };
        assert_eq!(own.prompt_for("auto"), "Write down the original language.");
    }

    #[test]
    fn the_shipped_file_mentions_every_key() {
        let shipped: toml::Table = include_str!("../../../configs/gemmad.toml")
            .parse()
            .unwrap();
        let names = |table: &toml::Table| -> Vec<String> {
            let sections = table.iter();
            let keys = sections.flat_map(|(section, keys)| {
                let keys = keys.as_table().unwrap().keys();
                keys.map(move |key| format!("{section}.{key}"))
            });
            keys.collect()
        };
        assert_eq!(names(&shipped), names(&Config::default().sections()));
    }

    #[test]
    fn every_profile_loads() {
        for profile in ["raspberry-pi-5", "jetson-orin-nano"] {
            let path = format!("{}/../configs/{profile}.toml", env!("CARGO_MANIFEST_DIR"));
            Config::load(Path::new(&path)).unwrap();
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_key() {
        let message = refuse("[engine]\nthreads = 2\nthread = 3\n");
        assert!(
            message.starts_with("/etc/gemmad/gemmad.toml:3: engine"),
            "{message}"
        );
        assert!(message.contains("unknown field `thread`"), "{message}");
    }

    #[test]
    fn a_wrong_type_is_refused_with_file_line_and_key() {
        let message = refuse("\n[engine]\nthreads = \"two\"\n");
        assert!(
            message.starts_with("/etc/gemmad/gemmad.toml:3: engine.threads: invalid type"),
            "{message}"
        );
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_range() {
        let message = refuse("[voice]\nopen = 1.5\n");
        assert!(
            message.starts_with("/etc/gemmad/gemmad.toml:2: voice.open: 1.5 is out of range"),
            "{message}"
        );
        assert!(refuse("[engine]\ncontext = -1\n").contains("256 to 1048576"));
    }

    #[test]
    fn keys_that_contradict_each_other_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gemmad.toml");
        for (text, why) in [
            (
                "[voice]\nopen = 0.2\nclose = 0.9",
                "voice.close: it is above voice.open",
            ),
            (
                "[speech]\ncommand = []",
                "speech.command: it names no program",
            ),
            ("[commands]\nyes = []", "commands.yes: nobody can say it"),
            (
                "[commands]\nno = [\"no\", \"!\"]",
                "commands.no: nobody can say it",
            ),
            (
                "[commands]\nyes = [\"OK\"]\nno = [\"ok\"]",
                "commands.no: it has words of",
            ),
            (
                "[commands]\nenabled = true\nfolders = []",
                "commands.folders: it names no folder",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let refused = Config::load(&path).unwrap_err().to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        std::fs::write(&path, "[voice]\nopen = 0.9\nclose = 0.9").unwrap();
        assert!(Config::load(&path).is_ok());
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let message = refuse("[engine]\nthreads = = 2\n");
        assert!(
            message.starts_with("/etc/gemmad/gemmad.toml:2: "),
            "{message}"
        );
    }
}
