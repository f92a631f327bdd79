//! Makes the nano model: the steps of the recipe in `models/nano`, in their order.
//!
//! The recipe itself is in Python, and each of its steps can be run alone. This module knows what each
//! step needs, and skips what is already made. All files of one training are in one folder, the run's.

mod training;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use xtask::{
    command::{execute, root},
    python::Python,
    recordings::{Run, held_out_sets},
    say, setup,
};

use crate::program;

/// A step that the user asks for.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Train the model in the background (some hours on two cores), or resume the training.
    Train {
        #[command(flatten)]
        run: Run,
        /// Maximum number of batches to learn from.
        #[arg(long, default_value_t = 3500)]
        steps: u32,
    },
    /// Write the trained model as GGUF files.
    Export {
        #[command(flatten)]
        run: Run,
        /// Also make it the model shipped with gemmad.
        #[arg(long)]
        install: bool,
    },
    /// Ask gemmad the held-out sets, with the GGUF files of the run.
    #[command(disable_help_flag = true)]
    Evaluate(program::Arguments),
}

/// Python packages for training.
const TRAINING: &str = "requirements-train.txt";

/// Number of spoken sentences to learn from; a training of 3500 steps uses each about twice.
const SENTENCES: &str = "48000";

/// Does one step.
pub fn run(task: &Task) -> Result<()> {
    match task {
        Task::Train { run, steps } => train(&run.folder, *steps),
        Task::Export { run, install } => export(&run.folder, *install),
        Task::Evaluate(arguments) => program::run("gemmad-bench", &["nano", "evaluate"], arguments),
    }
}

fn train(run: &Path, steps: u32) -> Result<()> {
    if training::is_running(run) {
        return Ok(());
    }
    setup::run()?;
    setup::voices()?;
    std::fs::create_dir_all(run)?;
    held_out_sets(run)?;
    let python = Python::of("nano", TRAINING)?;
    speech(&python, run)?;
    tokenizer(&python, run)?;
    training::start(&python, run, steps)
}

/// Synthesises the sentences to learn from, unless they exist.
fn speech(python: &Python, run: &Path) -> Result<()> {
    let (whole, part) = (run.join("speech"), run.join("speech.part"));
    if whole.exists() {
        return Ok(());
    }
    say::step(&format!(
        "Speaking {SENTENCES} sentences to learn from (about 20 minutes)"
    ));
    let mut data = python.script("data.py");
    execute(data.arg("train").arg(&part).arg(SENTENCES))?;
    std::fs::rename(&part, &whole).with_context(|| format!("cannot rename {}", part.display()))
}

/// Makes the tokenizer, unless it exists.
fn tokenizer(python: &Python, run: &Path) -> Result<()> {
    let file = run.join("tokenizer.json");
    if file.exists() {
        return Ok(());
    }
    say::step("Making the tokenizer");
    execute(python.script("vocabulary.py").arg(file))
}

fn export(run: &Path, install: bool) -> Result<()> {
    ensure!(
        run.join("model.pt").exists(),
        "there is no model.pt in {folder}, because no training has ended there; \
         `cargo xtask nano train --run {folder}` trains, and says how to end it early",
        folder = run.display()
    );
    setup::run()?;
    let python = Python::of("nano", TRAINING)?;
    say::step("Writing the GGUF files");
    execute(python.script("export.py").arg(run).arg("--q8"))?;
    if install {
        self::install(&python, run)?;
    }
    Ok(())
}

/// Copies the run's model and learning curve into the repository.
fn install(python: &Python, run: &Path) -> Result<()> {
    execute(python.script("plot.py").arg(run))?;
    let home = root().join("models/nano");
    for file in ["nano-f16.gguf", "nano-f16.mmproj.gguf", "curve.svg"] {
        std::fs::copy(run.join(file), home.join(file))
            .with_context(|| format!("cannot copy {file} to {}", home.display()))?;
    }
    say::success("This is now the model in models/nano; `cargo xtask bench nano` measures it");
    Ok(())
}
