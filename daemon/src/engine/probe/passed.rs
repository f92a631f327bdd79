//! The runs that were passed, remembered from one start to the next.
//!
//! A run is known by the identities of its files, by the settings and by the program.
//!
//! A model that is in use is marked, and the mark is taken away when gemmad ends in order. After a crash, whatever its
//! reason, the mark is still there and the model is run first again. A mark from before the machine started tells nothing:
//! people switch a Raspberry Pi off at the socket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::files::{Files, identity};
use crate::config::Config;
use crate::platform::file;

/// Runs that are remembered; of more, the last ones.
const MOST: usize = 8;

/// Most bytes of the file.
const LONGEST_FILE: usize = 64 * 1024;

/// A different text each time that the machine starts.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

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
        Some(Self(json!({
            "program": identity(program)?,
            "files": Files::of(&config.model).all()?,
            "model": config.model,
            "engine": config.engine,
        })))
    }
}

impl Passed {
    /// The file in the folder `cache`.
    pub(super) fn new(cache: &Path) -> Self {
        Self(cache.join("probed.json"))
    }

    /// Whether `run` was passed, and no crash came after it. It is then marked as in use.
    pub(super) fn enter(&self, run: &Run) -> bool {
        let (mut entries, boot) = (self.entries(), Some(boot()));
        let entry = entries.iter_mut().find(|it| it.run == run.0);
        let Some(entry) = entry.filter(|it| it.in_use.is_none() || it.in_use != boot) else {
            return false;
        };
        entry.in_use = boot;
        self.put(&entries);
        true
    }

    /// Remembers `run`, which was passed and is now in use.
    pub(super) fn add(&self, run: &Run) {
        let mut entries = self.entries();
        entries.retain(|it| it.run != run.0);
        entries.push(Entry {
            run: run.0.clone(),
            in_use: Some(boot()),
        });
        entries.drain(..entries.len().saturating_sub(MOST));
        self.put(&entries);
    }

    /// Notes that gemmad has ended in order. A run that was not passed stays unknown: it failed, or its files were replaced
    /// meanwhile.
    pub(super) fn leave(&self, run: &Run) {
        let mut entries = self.entries();
        if let Some(entry) = entries.iter_mut().find(|it| it.run == run.0) {
            entry.in_use = None;
            self.put(&entries);
        }
    }

    /// Writes the file. If that fails the model is run first again next time.
    fn put(&self, entries: &[Entry]) {
        if let Err(error) = self.write(entries) {
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
fn boot() -> String {
    let told = file::read_text(Path::new(BOOT), 100).unwrap_or_default();
    told.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_trusted_after_an_orderly_end_or_a_power_cut_and_not_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let passed = Passed::new(folder.path());
        let run = Run(json!("a"));
        assert!(!passed.enter(&run));
        passed.add(&run);
        // Since then nothing has ended in order.
        assert!(!passed.enter(&run));
        passed.leave(&run);
        assert!(passed.enter(&run));
        assert!(!passed.enter(&run));
        passed.put(&[Entry {
            run: run.0.clone(),
            in_use: Some("an earlier start of the machine".into()),
        }]);
        assert!(passed.enter(&run));
    }

    #[test]
    fn an_orderly_end_makes_no_model_trusted_that_was_not_passed() {
        let folder = tempfile::tempdir().unwrap();
        let passed = Passed::new(folder.path());
        let (failed, replaced) = (Run(json!("failed")), Run(json!("replaced")));
        passed.leave(&failed);
        assert!(!passed.enter(&failed));
        passed.add(&Run(json!("before")));
        passed.leave(&replaced);
        assert!(!passed.enter(&replaced));
    }
}
