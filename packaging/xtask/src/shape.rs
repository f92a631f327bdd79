//! Models with random weights, written by `models/shape/shape.py`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use gemmad_testbed::Model;

use crate::{
    command::{execute, root},
    say, setup,
};

/// Writes the two files into `folder`.
pub fn run(tiny: bool, folder: &Path) -> Result<()> {
    let model = files(tiny, folder);
    setup::run()?;
    say::step(&format!("Writing {}", model.text.display()));
    let mut python = Command::new(python()?);
    python.arg(root().join("models/shape/shape.py")).arg(folder);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    if tiny {
        python.arg("--tiny");
    }
    execute(&mut python)
}

/// The files that [`run`] writes into `folder`.
pub fn files(tiny: bool, folder: &Path) -> Model {
    let stem = if tiny { "tiny" } else { "e2b" };
    Model {
        text: folder.join(format!("{stem}-q4_0.gguf")),
        mmproj: folder.join(format!("{stem}-q4_0.mmproj.gguf")),
    }
}

/// A Python with the packages it needs, in a virtual environment of its own.
fn python() -> Result<PathBuf> {
    let environment = root().join("target/shape-python");
    let python = environment.join("bin/python");
    let requirements = root().join("models/shape/requirements.txt");
    if !python.exists() {
        execute(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment),
        )?;
    }
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ];
    execute(Command::new(&python).args(install).arg(requirements))?;
    Ok(python)
}
