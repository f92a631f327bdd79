//! Models with random weights, written by `models/shape/shape.py`.

use std::path::Path;

use anyhow::Result;

use crate::{command::execute, python::Python, say, setup};

/// Writes `e2b-q4_0.gguf` and `e2b-q4_0.mmproj.gguf` into `folder`; if `tiny`, `tiny-q4_0.gguf` and its projector.
pub fn run(tiny: bool, folder: &Path) -> Result<()> {
    setup::run()?;
    let name = if tiny { "tiny" } else { "e2b" };
    let text = folder.join(format!("{name}-q4_0.gguf"));
    say::step(&format!("Writing {}", text.display()));
    let mut shape = Python::of("shape", "requirements.txt")?.script("shape.py");
    shape.arg(folder);
    if tiny {
        shape.arg("--tiny");
    }
    execute(&mut shape)
}
