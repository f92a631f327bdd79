//! A recording, as the list describes it.

use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::split::Split;

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// People talk.
    Speech,
    /// People sing.
    Singing,
    /// Instruments; now and then with a voice.
    Music,
    /// Rooms, machines, nature, signals, and effects of games.
    Noise,
}

impl Kind {
    /// All kinds, in the order of the page.
    pub const ALL: [Self; 4] = [Self::Speech, Self::Singing, Self::Music, Self::Noise];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Speech => "speech",
            Self::Singing => "singing",
            Self::Music => "music",
            Self::Noise => "noise",
        })
    }
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// The sound file, relative to `target/corpus`; absolute in somebody's own folder.
    pub path: String,
    /// What is heard.
    pub kind: Kind,
    /// Language of speech and singing, as in `pt_BR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
    /// The speaker, the piece of music or the prompt. A group is in one split only.
    pub group: String,
    /// The package; `own` for somebody's own folder.
    pub package: String,
    /// SPDX identifier; `own` for somebody's own folder.
    pub licence: String,
    /// What it may be used for.
    pub split: Split,
    /// Length, in seconds.
    pub seconds: f64,
    /// Sample rate of a file without a header (16-bit little-endian, mono), in Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// The list as text: JSON, one recording a line.
pub fn lines(recordings: &[Recording]) -> Result<String> {
    let mut text = String::new();
    for recording in recordings {
        text += &serde_json::to_string(recording)?;
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_one_line_without_what_is_unknown() {
        let recording = Recording {
            path: "debian/p/a.wav".into(),
            kind: Kind::Noise,
            language: None,
            transcript: None,
            group: "p a".into(),
            package: "p".into(),
            licence: "CC0-1.0".into(),
            split: Split::HeldOut,
            seconds: 1.5,
            rate: None,
        };
        let text = lines(std::slice::from_ref(&recording)).unwrap();
        assert_eq!(
            text,
            "{\"path\":\"debian/p/a.wav\",\"kind\":\"noise\",\"group\":\"p a\",\"package\":\"p\",\
             \"licence\":\"CC0-1.0\",\"split\":\"held-out\",\"seconds\":1.5}\n"
        );
        assert_eq!(
            serde_json::from_str::<Recording>(text.trim()).unwrap(),
            recording
        );
    }
}
