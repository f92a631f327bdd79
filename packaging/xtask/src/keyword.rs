//! The recordings for evaluating keywords, made by the recipe in `models/keyword`.

use anyhow::Result;

use crate::{
    command::{execute, root},
    python::Python,
    say, setup,
};

/// Makes the recordings in `target/keyword`, unless they exist.
pub fn held_out_sets() -> Result<()> {
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
