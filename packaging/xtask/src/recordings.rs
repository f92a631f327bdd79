//! The recordings on which models are evaluated, spoken by the recipes in `models`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    command::{execute, root},
    python::Python,
    say, setup,
};

/// The folder of a training of the nano model.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Folder of the nano model's training: speech, held-out sets, checkpoints, GGUF files, results.
    // Absolute, because a daemon resolves paths relative to its configuration's folder.
    #[arg(
        long = "run",
        value_name = "FOLDER",
        default_value = "target/nano",
        value_parser = |path: &str| std::path::absolute(path)
    )]
    pub folder: PathBuf,
}

/// Makes the nano model's held-out sets in the folder of a run, unless they exist.
pub fn held_out_sets(run: &Path) -> Result<()> {
    // The recipe writes this file last.
    if run.join("evaluation/text.jsonl").exists() {
        return Ok(());
    }
    setup::voices()?;
    say::step("Speaking the held-out sets (about 2 minutes)");
    let python = Python::of("nano", "requirements.txt")?;
    execute(python.script("data.py").arg("evaluate").arg(run))
}

/// Makes the recordings for keywords in `target/keyword`, unless they exist.
pub fn keywords() -> Result<()> {
    let folder = root().join("target/keyword");
    // The recipe writes this file last.
    if folder.join("evaluation/negative.jsonl").exists() {
        return Ok(());
    }
    setup::voices()?;
    say::step("Speaking the recordings for keywords (about 10 minutes)");
    let python = Python::of("keyword", "requirements.txt")?;
    execute(python.script("data.py").arg("evaluate").arg(folder))
}
