//! Somebody's own recordings.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use xtask::say;

use crate::{
    duration,
    recording::{Kind, Recording},
    split::Split,
    text::{self, words},
};

/// Package and licence of somebody's own recordings.
const OWN: &str = "own";

/// The recordings in the folders `speech`, `singing`, `music` and `noise` of a folder. All are held out.
pub fn recordings(folder: &Path) -> Result<Vec<Recording>> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    let mut recordings = Vec::new();
    for kind in Kind::ALL {
        let part = folder.join(kind.to_string());
        if part.is_dir() {
            add(&part, kind, &folder, &mut recordings)?;
        }
    }
    ensure!(
        !recordings.is_empty(),
        "{} has no recordings in folders named speech, singing, music or noise",
        folder.display()
    );
    recordings.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(recordings)
}

/// Adds the recordings of a kind in `part` and the folders in it. Each folder is a group.
fn add(part: &Path, kind: Kind, folder: &Path, recordings: &mut Vec<Recording>) -> Result<()> {
    for entry in fs::read_dir(part)? {
        let path = entry?.path();
        if path.is_dir() {
            add(&path, kind, folder, recordings)?;
            continue;
        }
        if path.extension().is_some_and(|extension| extension == "txt") {
            continue;
        }
        let seconds = match duration::seconds(&path, None) {
            Ok(seconds) => seconds,
            Err(error) => {
                say::warning(&format!("{} is left out: {error:#}", path.display()));
                continue;
            }
        };
        let group = part.strip_prefix(folder)?.to_string_lossy().into_owned();
        recordings.push(Recording {
            kind,
            language: None,
            transcript: beside(&path)?,
            group,
            package: OWN.into(),
            licence: OWN.into(),
            split: Split::HeldOut,
            seconds: (seconds * 1000.0).round() / 1000.0,
            rate: None,
            path: path.to_string_lossy().into_owned(),
        });
    }
    Ok(())
}

/// The text beside a recording, if there is one.
fn beside(path: &Path) -> Result<Option<String>> {
    let text = path.with_extension("txt");
    if !text.exists() {
        return Ok(None);
    }
    Ok(Some(words(&text::read(&text)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest AIFF file with sound: 8 samples at 8 kHz.
    fn sound() -> Vec<u8> {
        let rate = [0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0];
        let mut common = vec![0, 1, 0, 0, 0, 8, 0, 16];
        common.extend(rate);
        let chunk = |name: &[u8], content: &[u8]| {
            let length = u32::try_from(content.len()).unwrap();
            [name, &length.to_be_bytes(), content].concat()
        };
        let sound = chunk(b"SSND", &[0; 8 + 16]);
        let content = [b"AIFF".to_vec(), chunk(b"COMM", &common), sound].concat();
        chunk(b"FORM", &content)
    }

    #[test]
    fn folders_say_the_kind_and_a_text_beside_says_what_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("speech/ann/a.aiff", &sound());
        write("speech/ann/a.txt", b"turn the\nlight on\n");
        write("noise/b.aiff", &sound());
        write("noise/notes.md", b"no sound");
        write("elsewhere/c.aiff", &sound());
        let recordings = recordings(folder.path()).unwrap();
        let told: Vec<_> = recordings
            .iter()
            .map(|it| {
                (
                    it.kind,
                    it.group.as_str(),
                    it.transcript.as_deref(),
                    it.split,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (Kind::Noise, "noise", None, Split::HeldOut),
                (
                    Kind::Speech,
                    "speech/ann",
                    Some("turn the light on"),
                    Split::HeldOut
                ),
            ]
        );
    }

    #[test]
    fn a_folder_without_recordings_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(recordings(folder.path()).is_err());
    }
}
