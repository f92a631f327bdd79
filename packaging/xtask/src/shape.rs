//! Models with random weights, written by `models/shape/shape.py`.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

use crate::{command::execute, python::Python, say, setup};

/// The words of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Vocabulary {
    /// Invented: nothing is fetched.
    Invented,
    /// Those of Gemma, fetched by npm.
    Gemma,
}

/// Writes `e2b-q4_0.gguf` and `e2b-q4_0.mmproj.gguf` into `folder`; if `tiny`, `tiny-q4_0.gguf` and its projector. With
/// Gemma's vocabulary `-gemma` follows the first word of their names.
pub fn run(tiny: bool, vocabulary: Vocabulary, folder: &Path) -> Result<()> {
    setup::run()?;
    let name = if tiny { "tiny" } else { "e2b" };
    let (words, name) = match vocabulary {
        Vocabulary::Invented => ("invented", name.to_owned()),
        Vocabulary::Gemma => ("gemma", format!("{name}-gemma")),
    };
    let text = folder.join(format!("{name}-q4_0.gguf"));
    say::step(&format!("Writing {}", text.display()));
    let mut shape = Python::of("shape", "requirements.txt")?.script("shape.py");
    shape.arg(folder).args(["--vocabulary", words]);
    if tiny {
        shape.arg("--tiny");
    }
    execute(&mut shape)
}

/// Writes every size of Gemma in these quantisations, or in all, into `folder/sizes`: tiny each, 1.3 GB in all.
pub fn sizes(quantisations: &[&str], folder: &Path) -> Result<()> {
    setup::run()?;
    say::step(&format!("Writing {}", folder.join("sizes").display()));
    let mut shape = Python::of("shape", "requirements.txt")?.script("shape.py");
    execute(shape.arg(folder).arg("--sizes").args(quantisations))
}
