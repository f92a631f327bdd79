//! The runs that were passed, remembered from one start to the next.
//!
//! A run is known by the identities of its files, by the settings and by the program: device, inode, size and time of the last
//! change, which no write leaves as it was. Reading gigabytes for a checksum would take as long as the run itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Config;
use crate::platform::file;

/// Runs that are remembered; of more, the last ones.
const MOST: usize = 8;

/// Most bytes of the file.
const LONGEST_FILE: usize = 64 * 1024;

/// The file of the runs that were passed.
#[derive(Debug, Clone)]
pub(super) struct Passed(PathBuf);

/// A run of model files, by all that its outcome depends on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run(Value);

impl Run {
    /// The run of the files that `config` names by `program`; `None` if a file is not there.
    pub(super) fn new(program: &Path, config: &Config) -> Option<Self> {
        let model = &config.model;
        let projector = if model.mmproj.as_os_str().is_empty() {
            Value::Null
        } else {
            identity(&model.mmproj)?
        };
        Some(Self(json!({
            "program": identity(program)?,
            "text": identity(&model.text)?,
            "mmproj": projector,
            "model": model,
            "engine": config.engine,
        })))
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

    /// Whether `run` was passed.
    pub(super) fn contains(&self, run: &Run) -> bool {
        self.runs().contains(&run.0)
    }

    /// Remembers `run`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn add(&self, run: Run) -> io::Result<()> {
        let mut runs = self.runs();
        runs.push(run.0);
        runs.drain(..runs.len().saturating_sub(MOST));
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        // Renamed when it is whole. Two daemons of one user may write at the same time.
        let whole = self.0.with_extension(std::process::id().to_string());
        fs::write(&whole, Value::Array(runs).to_string())?;
        fs::rename(&whole, &self.0)
    }

    /// The runs in the file; none if it is missing or damaged.
    fn runs(&self) -> Vec<Value> {
        let text = file::read_text(&self.0, LONGEST_FILE).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}
