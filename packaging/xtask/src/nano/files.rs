//! The files of a training: GGUF files and held-out sets.

use std::path::Path;

use anyhow::Result;
use gemmad_testbed::Model;

use crate::{command::execute, python::Python, say, setup};

/// Python packages that make speech.
pub const SPEECH: &str = "requirements.txt";

/// The files that [`export`] writes into the folder of a run.
pub fn of_run(run: &Path) -> Model {
    Model {
        text: run.join("nano-f16.gguf"),
        mmproj: run.join("nano-f16.mmproj.gguf"),
    }
}

/// Makes the held-out sets in the folder of a run, unless they exist.
pub fn held_out_sets(run: &Path) -> Result<()> {
    // The recipe writes this file last.
    if run.join("evaluation/text.jsonl").exists() {
        return Ok(());
    }
    setup::voices()?;
    say::step("Speaking the held-out sets (about 2 minutes)");
    let python = Python::of("nano", SPEECH)?;
    execute(python.script("data.py").arg("evaluate").arg(run))
}
