//! Spoken and written commands: the keys of `[commands]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Bounded;

/// `[commands]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// Whether speech can be a command, and `Commands.Invoke` works.
    pub enabled: bool,
    /// Folders with the files of the catalogue. Relative paths start at the configuration file's folder.
    pub folders: Vec<PathBuf>,
    /// Declare the commands in the prompt. Only a model that was trained on the catalogue works without.
    pub declare: bool,
    /// System prompt of requests that may be commands; empty: none.
    pub system: String,
    /// Most rounds, for one utterance, in which the model reads the results of commands that answer. In the last round
    /// it may call no command.
    pub rounds: Bounded<0, 8>,
    /// The readings of speech that must give the same commands before they are carried out.
    pub certainty: Certainty,
    /// Phrases that confirm a pending spoken command. The reply must be exactly one of them; case and punctuation are
    /// ignored.
    pub yes: Vec<String>,
    /// Phrases that refuse it, matched likewise.
    pub no: Vec<String>,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            enabled: false,
            folders: vec!["/usr/share/gemmad/commands".into()],
            declare: true,
            system: String::new(),
            rounds: Bounded(2),
            certainty: Certainty::default(),
            yes: words(&["yes", "yes please", "confirm", "do it", "go ahead"]),
            no: words(&["no", "no thanks", "cancel", "cancel that", "never mind"]),
        }
    }
}

/// The readings of speech that must give the same commands before they are carried out. Commands that halt never wait for
/// the second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// One: the sound.
    One,
    /// Two: the sound, and the transcript as text. If they differ, or one is not sure, a person is asked to confirm.
    Ask,
    /// Two. If they differ, or one is not sure, a person is asked only if the sound was very clear.
    #[default]
    Both,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
