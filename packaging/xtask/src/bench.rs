//! Measures gemmad, side by side with plain llama.cpp where both can do the same, and the nano model.
//!
//! Every benchmark yields named figures. They go into `docs/figures.json`, where a later run replaces those it
//! measured again, and from there into `docs/performance.md`.

mod ask;
pub mod commands;
mod endpoint;
mod figure;
mod keyword;
mod late;
pub mod nano;
mod overhead;
mod quiet;
mod siege;
mod speed;
mod turn;
mod voice;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use gemmad_testbed::{Binaries, Model};

use crate::{
    architecture::Architecture,
    command::{cargo, root},
    package::libraries,
    say, setup, shape,
};
use figure::{Figure, Figures};

/// A group of figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// Prefill and decode over the bus, against llama.cpp in the same run.
    Speed,
    /// What bus, daemon and client add to the engine's own time.
    Overhead,
    /// A spoken turn on the engine, by how long it was, against llama.cpp's whole clip.
    Turn,
    /// From the end of speech to the first token and the first sound of the answer, through microphone and bus.
    Voice,
    /// Somebody speaks over the assistant: how soon it is silent.
    BargeIn,
    /// What listening costs while nobody speaks.
    Idle,
    /// A microphone that is pulled out and put back 50 times, as another one each time.
    Replug,
    /// An hour of its own voice: whether it ever takes that for somebody. Only when asked for.
    Monologue,
    /// When an utterance is over: in quiet, in noise, beside a television.
    Endpoint,
    /// The words that are spotted without a model: when they were said, and when not.
    Keyword,
    /// A word that halts, while an answer is being written: from its end to the signal.
    Halt,
    /// Commands that are halted at any moment: whether one begins afterwards.
    LateStarts,
    /// 200 clients misuse the daemon for ten minutes. Only when asked for.
    Siege,
    /// Commands, through microphone and bus: how well and how soon, and what is called that nobody asked for.
    Commands,
    /// How much the nano model understands, in its card too.
    Nano,
}

impl Benchmark {
    /// As it is typed.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it measures the model with the shape of E2B, which takes gigabytes.
    fn needs_shape(self) -> bool {
        matches!(self, Self::Speed | Self::Turn | Self::Voice | Self::Halt)
    }

    /// Whether it is only run when it is asked for by name.
    fn is_long(self) -> bool {
        matches!(self, Self::Monologue | Self::Siege)
    }

    /// Whether it asks the nano model's held-out sets, which have to be made first.
    fn needs_held_out_sets(self) -> bool {
        matches!(
            self,
            Self::Nano | Self::Turn | Self::Endpoint | Self::Commands
        )
    }

    /// Whether it measures times, which other work on the machine makes longer.
    fn is_timed(self) -> bool {
        !matches!(
            self,
            Self::Nano | Self::Endpoint | Self::Keyword | Self::Replug | Self::LateStarts
        )
    }
}

/// Share of the machine that other work may take, in percent, before somebody is told.
const BUSY: f64 = 10.0;

/// What a benchmark works with: release builds, the models, and the run of the nano model that has the
/// held-out sets.
struct Bench {
    binaries: Binaries,
    llama_cpp: PathBuf,
    shape: Model,
    run: PathBuf,
}

/// Runs one benchmark, or all. The figures go into `json` alone if it is given. `run` is the folder of the nano model's
/// [`Benchmark::Commands`], `minutes` is how long [`Benchmark::Monologue`] or [`Benchmark::Siege`] lasts.
pub fn run(
    only: Option<Benchmark>,
    json: Option<&Path>,
    run: PathBuf,
    options: &commands::Options,
    minutes: Option<u64>,
) -> Result<()> {
    setup::run()?;
    let chosen = Benchmark::value_variants().iter().copied();
    let chosen: Vec<_> = chosen
        .filter(|one| only.map_or(!one.is_long(), |only| only == *one))
        .collect();
    let bench = Bench::prepare(&chosen, run)?;
    let kept = root().join("docs/figures.json");
    let file = json.unwrap_or(&kept);
    let mut figures = Figures::load(file)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        for benchmark in chosen {
            say::step(&format!("Measuring {}", benchmark.name()));
            let before = quiet::other_work().await?;
            let measured = match benchmark {
                Benchmark::Speed => speed::measure(&bench).await,
                Benchmark::Overhead => overhead::measure(&bench).await,
                Benchmark::Turn => turn::measure(&bench).await,
                Benchmark::Voice => voice::answer::measure(&bench).await,
                Benchmark::BargeIn => voice::barge_in::measure(&bench).await,
                Benchmark::Monologue => {
                    voice::barge_in::monologue(&bench, minutes.unwrap_or(60)).await
                }
                Benchmark::Idle => voice::idle::measure(&bench).await,
                Benchmark::Replug => voice::replug::measure(&bench).await,
                Benchmark::Endpoint => endpoint::measure(&bench).await,
                Benchmark::Keyword => keyword::measure(&bench).await,
                Benchmark::Halt => keyword::halting(&bench).await,
                Benchmark::LateStarts => late::measure(&bench).await,
                Benchmark::Siege => siege::measure(&bench, minutes.unwrap_or(10)).await,
                Benchmark::Commands => commands::measure(&bench, options).await,
                Benchmark::Nano => nano::measure(&bench).await,
            };
            let measured =
                measured.with_context(|| format!("cannot measure {}", benchmark.name()))?;
            let busy = before.max(quiet::other_work().await?);
            if busy > BUSY && benchmark.is_timed() {
                say::warning(&format!(
                    "other work takes {busy:.0} % of this machine; measure again when it is quiet"
                ));
            }
            figure::show(&measured);
            for figure in measured {
                figures.put(figure.other_work(busy));
            }
            figures.save(file)?;
        }
        anyhow::Ok(())
    })?;
    say::success(&format!("{} is written", file.display()));
    if json.is_none() {
        let page = root().join("docs/performance.md");
        std::fs::write(&page, figures.page())?;
        say::success(&format!("{} is written", page.display()));
    }
    Ok(())
}

impl Bench {
    /// Builds gemmad and whatever the chosen benchmarks need.
    fn prepare(chosen: &[Benchmark], run: PathBuf) -> Result<Self> {
        let programs = release()?;
        let folder = target()?.join("shape");
        let shape = shape::files(false, &folder);
        if chosen.iter().any(|one| one.needs_shape()) && !shape.mmproj.exists() {
            shape::run(false, &folder)?;
        }
        if chosen.iter().any(|one| one.needs_held_out_sets()) {
            crate::nano::held_out_sets(&run)?;
        }
        if chosen.contains(&Benchmark::Keyword) {
            crate::keyword::held_out_sets()?;
        }
        Ok(Self {
            binaries: Binaries::in_folder(&programs)?,
            llama_cpp: programs.join("llama_cpp"),
            shape,
            run,
        })
    }
}

/// Programs that are measured, where cargo puts them.
const PROGRAMS: [&str; 7] = [
    "gemmad",
    "gemmad-supervise",
    "gemmactl",
    "examples/llama_cpp",
    "examples/spoken_turn",
    "examples/endpoint",
    "examples/keyword",
];

/// Builds everything as it is in the package, with the CPU kernels that are best here, and puts it where
/// it would be installed; the folder of the programs.
fn release() -> Result<PathBuf> {
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
        // One that runs cannot be written to. The first time there is none.
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(&program, copy)
            .with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(programs)
}

/// Cargo's folder; this program is `debug/xtask` in it.
fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2);
    Ok(target
        .context("this program is in no target folder")?
        .into())
}

/// The middle one.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}
