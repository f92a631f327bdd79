//! What is said in a recording, in the many ways in which packages tell it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Deserialize;

use crate::{
    fetch::{Registry, folder},
    pattern::{Parts, fill},
    text::{self, words},
};

/// Where the transcript of a recording is found.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// How it is written there.
    style: Style,
    /// Template of the text file, in the package; unused if the key itself is the transcript.
    #[serde(default)]
    file: String,
    /// The package of the text file, if it is another one.
    pub package: Option<String>,
    /// Template of the recording's name in the text file.
    key: String,
}

/// How transcripts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Style {
    /// The key is the transcript; `_` and `-` are spaces.
    Key,
    /// Lines `KEY: TEXT` (asterisk).
    List,
    /// Lines `<s> TEXT </s> (KEY)` (Sphinx).
    Sphinx,
    /// A first line in English, then lines `KEY.utf8=TEXT` by language (Tux Paint).
    Stamp,
    /// Elements `<sound name="TEXT" file="KEY" />` (`KLettres`).
    Sounds,
    /// Calls `dialogId("KEY", …)` and `dialogStr("TEXT")` (Fish Fillets).
    Dialogs,
}

/// Finds transcripts. Each text file is read once.
#[derive(Debug)]
pub struct Transcripts<'a> {
    store: &'a Path,
    read: BTreeMap<PathBuf, BTreeMap<String, String>>,
}

impl<'a> Transcripts<'a> {
    /// Transcripts in the packages of a corpus.
    pub fn new(store: &'a Path) -> Self {
        Self {
            store,
            read: BTreeMap::new(),
        }
    }

    /// What is said in a recording of `package` whose path has these parts; `None` if its text does not say.
    pub fn find(
        &mut self,
        transcript: &Transcript,
        registry: Registry,
        package: &str,
        parts: &Parts,
    ) -> Result<Option<String>> {
        let key = fill(&transcript.key, parts)?;
        if transcript.style == Style::Key {
            return Ok(Some(key.replace(['_', '-'], " ")));
        }
        let package = transcript.package.as_deref().unwrap_or(package);
        let file = fill(&transcript.file, parts)?;
        let path = self.store.join(folder(registry, package)).join(file);
        let texts = match self.read.entry(path) {
            Entry::Occupied(texts) => texts.into_mut(),
            Entry::Vacant(place) => {
                // A text that is not there tells nothing.
                let text = if place.key().exists() {
                    text::read(place.key())?
                } else {
                    String::new()
                };
                place.insert(transcript.style.texts(&text))
            }
        };
        Ok(texts.get(&key).cloned())
    }
}

impl Style {
    /// The transcripts in a text, by their keys.
    fn texts(self, text: &str) -> BTreeMap<String, String> {
        let found = match self {
            Self::Key => Vec::new(),
            Self::List => text.lines().filter_map(list_item).collect(),
            Self::Sphinx => text.lines().filter_map(sphinx_line).collect(),
            Self::Stamp => stamp(text),
            Self::Sounds => text.split("<sound ").filter_map(sound).collect(),
            Self::Dialogs => text.split("dialogId(").filter_map(dialog).collect(),
        };
        found
            .into_iter()
            .map(|(key, text)| (key.to_owned(), words(text)))
            .map(|(key, text)| match self {
                Self::List => (key, without_remarks(text)),
                _ => (key, text),
            })
            .filter(|(_, text)| !text.is_empty())
            .collect()
    }
}

/// The text without the remarks in brackets behind its words. A text that begins with a bracket describes a sound.
fn without_remarks(mut text: String) -> String {
    while let Some(start) = text.find(" (") {
        let length = text[start..]
            .find(')')
            .map_or(text.len() - start, |end| end + 1);
        text.replace_range(start..start + length, "");
    }
    text
}

fn list_item(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')
        .filter(|(key, _)| !key.starts_with(';'))
}

fn sphinx_line(line: &str) -> Option<(&str, &str)> {
    let (text, key) = line.trim().strip_suffix(')')?.rsplit_once('(')?;
    let text = text.trim();
    let text = text.strip_prefix("<s>").unwrap_or(text);
    Some((key, text.strip_suffix("</s>").unwrap_or(text)))
}

fn stamp(text: &str) -> Vec<(&str, &str)> {
    let english = text.lines().next().map(|line| ("en", line));
    let others = text.lines().filter_map(|line| line.split_once(".utf8="));
    english.into_iter().chain(others).collect()
}

fn sound(element: &str) -> Option<(&str, &str)> {
    let attribute = |name: &str| {
        let (_, after) = element.split_once(&format!("{name}=\""))?;
        after.split_once('"').map(|(value, _)| value)
    };
    Some((attribute("file")?, attribute("name")?))
}

fn dialog(call: &str) -> Option<(&str, &str)> {
    let (_, after) = call.split_once('"')?;
    let (key, after) = after.split_once('"')?;
    let (_, after) = after.split_once("dialogStr(\"")?;
    let (text, _) = after.split_once("\")")?;
    Some((key, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(style: Style, text: &str) -> Vec<(String, String)> {
        style.texts(text).into_iter().collect()
    }

    fn said(key: &str, text: &str) -> (String, String) {
        (key.into(), text.into())
    }

    #[test]
    fn a_list_has_comments_and_texts_with_colons() {
        let text =
            "; Core Sounds: English\n\nvm-intro: Please say:  your name.\ndigits/1: one\nempty:\n";
        assert_eq!(
            texts(Style::List, text),
            [
                said("digits/1", "one"),
                said("vm-intro", "Please say: your name.")
            ]
        );
    }

    #[test]
    fn remarks_behind_the_words_of_a_list_are_not_said() {
        let text =
            "spy: IAX (note: does not say \"2\")\nfor: Pour (emphase) vous\nbeep: (a beep)\n";
        assert_eq!(
            texts(Style::List, text),
            [
                said("beep", "(a beep)"),
                said("for", "Pour vous"),
                said("spy", "IAX"),
            ]
        );
    }

    #[test]
    fn sphinx_marks_the_ends_of_sentences_or_does_not() {
        let text = "<s> ten of clubs  </s> (001)\nseven of clubs (002)\n\n";
        assert_eq!(
            texts(Style::Sphinx, text),
            [said("001", "ten of clubs"), said("002", "seven of clubs")]
        );
    }

    #[test]
    fn a_stamp_begins_in_english() {
        let text = "An old doll.\nfr.utf8=Une vieille poupée.\nde.utf8=\n";
        assert_eq!(
            texts(Style::Stamp, text),
            [
                said("en", "An old doll."),
                said("fr", "Une vieille poupée.")
            ]
        );
    }

    #[test]
    fn sounds_are_elements_with_a_name_and_a_file() {
        let text = "<alphabet>\n<sound name=\"A\" file=\"en/alpha/A.ogg\" />\n<sound name=\"B\"/>";
        assert_eq!(texts(Style::Sounds, text), [said("en/alpha/A.ogg", "A")]);
    }

    #[test]
    fn a_dialog_is_its_own_language_and_not_the_english_one() {
        let text = "\ndialogId(\"a-m\", \"font_small\", \"What (is it)?\")\ndialogStr(\"Co to je?\")\n\n\
                    dialogId(\"a-v\", \"font_big\", \"No.\")\n";
        assert_eq!(texts(Style::Dialogs, text), [said("a-m", "Co to je?")]);
    }

    #[test]
    fn the_key_itself_may_be_what_is_said() {
        let transcript = Transcript {
            style: Style::Key,
            file: String::new(),
            package: None,
            key: "{words}".into(),
        };
        let parts = Parts::from([("words".into(), "Front_Left".into())]);
        let store = Path::new("/nonexistent");
        let found = Transcripts::new(store).find(&transcript, Registry::Debian, "p", &parts);
        assert_eq!(found.unwrap().as_deref(), Some("Front Left"));
    }
}
