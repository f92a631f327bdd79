//! Models with random weights, written by `models/shape/shape.py`.

use std::path::Path;

use anyhow::Result;
use gemmad_testbed::Model;

use crate::{command::execute, python::Python, say, setup};

/// Writes the two files into `folder`.
pub fn run(tiny: bool, folder: &Path) -> Result<()> {
    let model = files(tiny, folder);
    setup::run()?;
    say::step(&format!("Writing {}", model.text.display()));
    let mut shape = Python::of("shape", "requirements.txt")?.script("shape.py");
    shape.arg(folder);
    if tiny {
        shape.arg("--tiny");
    }
    execute(&mut shape)
}

/// The files that [`run`] writes into `folder`.
pub fn files(tiny: bool, folder: &Path) -> Model {
    let stem = if tiny { "tiny" } else { "e2b" };
    Model {
        text: folder.join(format!("{stem}-q4_0.gguf")),
        mmproj: folder.join(format!("{stem}-q4_0.mmproj.gguf")),
    }
}
