//! Copies of the same sound file, which packages have under several names.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

use crate::recording::Recording;

/// Leaves only the first of equal sound files, so that none is in two splits or counted twice. Its transcript goes
/// too if another name says that something else is said.
pub fn leave(recordings: &mut Vec<Recording>, store: &Path) -> Result<()> {
    let mut sizes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, recording) in recordings.iter().enumerate() {
        let size = store.join(&recording.path).metadata()?.len();
        sizes.entry(size).or_default().push(place);
    }
    let mut is_copy = vec![false; recordings.len()];
    for places in sizes.into_values().filter(|places| places.len() > 1) {
        let mut first: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for place in places {
            let path = store.join(&recordings[place].path);
            let content =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let kept = *first.entry(content).or_insert(place);
            if kept == place {
                continue;
            }
            is_copy[place] = true;
            if recordings[kept].transcript != recordings[place].transcript {
                recordings[kept].transcript = None;
            }
        }
    }
    let mut copies = is_copy.into_iter();
    recordings.retain(|_| copies.next() != Some(true));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{recording::Kind, split::Split};

    fn recording(path: &str, transcript: &str) -> Recording {
        Recording {
            path: path.into(),
            kind: Kind::Speech,
            language: None,
            transcript: Some(transcript.into()),
            group: path.into(),
            package: "p".into(),
            licence: "MIT".into(),
            split: Split::Training,
            seconds: 1.0,
            rate: None,
        }
    }

    #[test]
    fn a_copy_goes_and_takes_a_doubtful_transcript_with_it() {
        let store = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("a", "one"),
            ("b", "two"),
            ("c", "one"),
            ("d", "two"),
            ("e", "three"),
        ] {
            fs::write(store.path().join(name), content).unwrap();
        }
        let texts = [
            ("a", "yes"),
            ("b", "no"),
            ("c", "yes"),
            ("d", "never"),
            ("e", "no"),
        ];
        let mut recordings = texts.map(|(path, text)| recording(path, text)).to_vec();
        leave(&mut recordings, store.path()).unwrap();
        let left: Vec<_> = recordings
            .iter()
            .map(|it| (it.path.as_str(), it.transcript.as_deref()))
            .collect();
        assert_eq!(left, [("a", Some("yes")), ("b", None), ("e", Some("no"))]);
    }
}
