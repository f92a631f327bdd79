//! What a benchmark works with: release builds, models, held-out sets.

use std::path::PathBuf;

use anyhow::{Context, Result};
use gemmad_testbed::{Binaries, Model};
use xtask::{
    architecture::Architecture,
    command::{cargo, target},
    package::libraries,
    recordings, say, shape,
};

use crate::{benchmark::Benchmark, vocabulary};

/// The environment of a benchmark: release builds, the models, and the run of the nano model with the
/// held-out sets.
pub struct Bench {
    pub binaries: Binaries,
    pub llama_cpp: PathBuf,
    pub shape: Model,
    pub run: PathBuf,
}

impl Bench {
    /// Builds gemmad and all that the chosen benchmarks need.
    pub fn prepare(chosen: &[Benchmark], run: PathBuf) -> Result<Self> {
        let programs = release()?;
        let folder = target()?.join("shape");
        let shape = Model::in_folder(&folder, "e2b-q4_0");
        if chosen.iter().any(|one| one.needs_shape()) && !shape.mmproj.exists() {
            shape::run(false, shape::Vocabulary::Invented, &folder)?;
        }
        if chosen.iter().any(|one| one.needs_held_out_sets()) {
            recordings::held_out_sets(&run)?;
        }
        if chosen.contains(&Benchmark::Vocabulary) && !vocabulary::model()?.mmproj.exists() {
            shape::run(true, shape::Vocabulary::Gemma, &folder)?;
        }
        if chosen.contains(&Benchmark::Keyword) {
            recordings::keywords()?;
        }
        Ok(Self {
            binaries: Binaries::in_folder(&programs)?,
            llama_cpp: programs.join("llama_cpp"),
            shape,
            run,
        })
    }
}

/// The measured programs, as paths in cargo's folder.
const PROGRAMS: [&str; 11] = [
    "gemmad",
    "gemmad-supervise",
    "gemmactl",
    "examples/llama_cpp",
    "examples/spoken_turn",
    "examples/conversation",
    "examples/double_talk",
    "examples/endpoint",
    "examples/keyword",
    "examples/people",
    "examples/rehearsal",
];

/// Builds everything as for the package, so that the best CPU kernels for this machine are loaded, and
/// copies it into folders like those of an installation; returns the folder of the programs.
pub fn release() -> Result<PathBuf> {
    say::step("Building gemmad and plain llama.cpp for release (the first time about 20 minutes)");
    let build = cargo([
        "build",
        "--release",
        "--workspace",
        "--bins",
        "--examples",
        "--features",
        "gemmad/portable",
    ]);
    let target = target()?;
    let llama_cpp = libraries::build(build, &target)?;
    let installed = target.join("bench");
    libraries::copy(
        &llama_cpp,
        &installed.join("lib/gemmad"),
        Architecture::here()?,
    )?;
    let programs = installed.join("bin");
    std::fs::create_dir_all(&programs)?;
    for program in PROGRAMS.map(|name| target.join("release").join(name)) {
        let copy = programs.join(program.file_name().unwrap_or_default());
        // A running program cannot be overwritten. The first time there is nothing to remove.
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(&program, copy)
            .with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(programs)
}
