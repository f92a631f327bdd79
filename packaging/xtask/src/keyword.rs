//! The recordings that keywords are judged by, which the recipe in `models/keyword` makes.

use anyhow::Result;

use crate::{
    command::{execute, root},
    python::Python,
    say, setup,
};

/// Makes them in `target/keyword`, unless they are there.
pub fn held_out_sets() -> Result<()> {
    let folder = root().join("target/keyword");
    // The recipe writes this one last.
    if folder.join("evaluation/negative.jsonl").exists() {
        return Ok(());
    }
    setup::voices()?;
    say::step("Speaking the recordings for keywords (about 10 minutes)");
    let python = Python::of("keyword", "requirements.txt")?;
    execute(python.script("data.py").arg("evaluate").arg(folder))
}
