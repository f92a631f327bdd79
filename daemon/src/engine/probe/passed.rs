//! The runs that were passed, remembered from one start to the next.
//!
//! A run is known by the identities of its files, by the settings and by the program: device, inode, size and time of the last
//! change, which no write leaves as it was. Reading gigabytes for a checksum would take as long as the run itself.
//!
//! A model that is in use is marked, and the mark is taken away when gemmad ends in order. After a crash, whatever its
//! reason, the mark is still there and the model is run first again. A mark from before the machine started tells nothing:
//! people switch a Raspberry Pi off at the socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Config;
use crate::platform::file;

/// Runs that are remembered; of more, the last ones.
const MOST: usize = 8;

/// Most bytes of the file.
const LONGEST_FILE: usize = 64 * 1024;

/// A different text each time that the machine starts.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Most parts of a split model.
const MOST_PARTS: u32 = 1000;

/// The file of the runs that were passed.
#[derive(Debug, Clone)]
pub(super) struct Passed(PathBuf);

/// A run of model files, by all that its outcome depends on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run(Value);

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    run: Value,
    /// While the model is in use: the start of the machine in which it is.
    in_use: Option<String>,
}

impl Run {
    /// The run of the files that `config` names by `program`; `None` if a file is not there.
    pub(super) fn new(program: &Path, config: &Config) -> Option<Self> {
        let model = &config.model;
        let parts: Option<Vec<_>> = parts(&model.text).iter().map(|it| identity(it)).collect();
        let projector = if model.mmproj.as_os_str().is_empty() {
            Value::Null
        } else {
            identity(&model.mmproj)?
        };
        Some(Self(json!({
            "program": identity(program)?,
            "text": parts?,
            "mmproj": projector,
            "model": model,
            "engine": config.engine,
        })))
    }
}

/// The files of a text model: `name-00001-of-00003.gguf` has two others beside it (llama.cpp, `llama_split_path`).
fn parts(path: &Path) -> Vec<PathBuf> {
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

fn identity(path: &Path) -> Option<Value> {
    let found = fs::metadata(path).ok()?;
    Some(json!([
        found.dev(),
        found.ino(),
        found.size(),
        found.ctime(),
        found.ctime_nsec()
    ]))
}

impl Passed {
    /// The file in the folder `cache`.
    pub(super) fn new(cache: &Path) -> Self {
        Self(cache.join("probed.json"))
    }

    /// Whether `run` was passed, and no crash came after it. It is then in use.
    pub(super) fn is_trusted(&self, run: &Run) -> bool {
        let boot = boot();
        let entries = self.entries();
        let entry = entries.iter().find(|it| it.run == run.0);
        let is_trusted = entry.is_some_and(|it| it.in_use.is_none() || it.in_use != boot);
        if is_trusted {
            self.put(run, boot);
        }
        is_trusted
    }

    /// Remembers `run`, which was passed and is now in use.
    pub(super) fn add(&self, run: &Run) {
        self.put(run, boot());
    }

    /// Notes that gemmad has ended in order.
    pub(super) fn leave(&self, run: &Run) {
        self.put(run, None);
    }

    /// Writes a run behind all others. If that fails the model is run first again next time.
    fn put(&self, run: &Run, in_use: Option<String>) {
        let mut entries = self.entries();
        entries.retain(|it| it.run != run.0);
        let run = run.0.clone();
        entries.push(Entry { run, in_use });
        entries.drain(..entries.len().saturating_sub(MOST));
        if let Err(error) = self.write(&entries) {
            log::warn!(
                "the next start will run the model first: {}: {error}",
                self.0.display()
            );
        }
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        // Renamed when it is whole. Two daemons of one user may write at the same time.
        let whole = self.0.with_extension(std::process::id().to_string());
        let written = fs::write(&whole, serde_json::to_vec(entries)?)
            .and_then(|()| fs::rename(&whole, &self.0));
        if written.is_err() {
            // Perhaps it was never made.
            let _ = fs::remove_file(&whole);
        }
        written
    }

    /// The runs in the file; none if it is missing or damaged.
    fn entries(&self) -> Vec<Entry> {
        let text = file::read_text(&self.0, LONGEST_FILE).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// The start of the machine that it runs since; where none is told, always the same.
fn boot() -> Option<String> {
    let told = file::read_text(Path::new(BOOT), 100).unwrap_or_default();
    Some(told.trim().to_owned())
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

    #[test]
    fn a_model_is_trusted_after_an_orderly_end_or_a_power_cut_and_not_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let passed = Passed::new(folder.path());
        let run = Run(json!("a"));
        assert!(!passed.is_trusted(&run));
        passed.add(&run);
        // Since then nothing has ended in order.
        assert!(!passed.is_trusted(&run));
        passed.leave(&run);
        assert!(passed.is_trusted(&run));
        assert!(!passed.is_trusted(&run));
        passed.put(&run, Some("an earlier start of the machine".into()));
        assert!(passed.is_trusted(&run));
    }
}
