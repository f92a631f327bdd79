//! The files of a model, as they are now.
//!
//! A file is known by device, inode, size and time of the last change, which no write leaves as it was. Reading gigabytes for
//! a checksum would take as long as loading them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config;

/// Most parts of a split model.
const MOST_PARTS: u32 = 1000;

/// The identities of a model's files; `None` for one that is not there.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::engine) struct Files(Vec<Option<Value>>);

impl Files {
    /// The files that `model` names, as they are now.
    pub(in crate::engine) fn of(model: &config::Model) -> Self {
        let mut paths = parts(&model.text);
        if !model.mmproj.as_os_str().is_empty() {
            paths.push(model.mmproj.clone());
        }
        Self(paths.iter().map(|path| identity(path)).collect())
    }

    /// Their identities, if all are there.
    pub(super) fn all(self) -> Option<Vec<Value>> {
        self.0.into_iter().collect()
    }
}

/// The identity of a file, if it is there.
pub(super) fn identity(path: &Path) -> Option<Value> {
    let found = fs::metadata(path).ok()?;
    Some(json!([
        found.dev(),
        found.ino(),
        found.size(),
        found.ctime(),
        found.ctime_nsec()
    ]))
}

/// The files of a text model: `name-00001-of-00003.gguf` has two others beside it (llama.cpp, `llama_split_path`).
pub(in crate::engine) fn parts(path: &Path) -> Vec<PathBuf> {
    let count = path.file_name().and_then(|name| {
        let (start, rest) = name.to_str()?.rsplit_once("-00001-of-")?;
        let count: u32 = rest.strip_suffix(".gguf")?.parse().ok()?;
        Some((start, rest, count.min(MOST_PARTS)))
    });
    match count {
        None => vec![path.to_owned()],
        Some((start, rest, count)) => (1..=count)
            .map(|nth| path.with_file_name(format!("{start}-{nth:05}-of-{rest}")))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_model_is_all_of_its_parts() {
        let parts = |path: &str| parts(Path::new(path));
        assert_eq!(
            parts("/m/a-00001-of-00003.gguf"),
            [
                "/m/a-00001-of-00003.gguf",
                "/m/a-00002-of-00003.gguf",
                "/m/a-00003-of-00003.gguf"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(parts("/m/a.gguf"), [PathBuf::from("/m/a.gguf")]);
        assert_eq!(parts("/m/a-00001-of-x.gguf").len(), 1);
    }
}
