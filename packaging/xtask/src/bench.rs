//! Measures gemmad, side by side with plain llama.cpp if both can do the same, and the nano model.
//!
//! Every benchmark yields named figures. They go into `docs/figures.json`, where a later run replaces those that it
//! measures again, and from there into `docs/performance.md`.

mod ask;
mod benchmark;
pub mod commands;
mod endpoint;
pub mod figure;
mod keyword;
mod late;
pub mod nano;
mod overhead;
mod quiet;
mod setting;
mod siege;
mod speed;
mod turn;
mod voice;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{command::root, say, setup};
pub use benchmark::Benchmark;
use figure::Figures;
use setting::Bench;

/// Share of the machine that other work may take before the user is told, in percent.
const BUSY: f64 = 10.0;

/// Runs one benchmark, or all. With `json` the figures go into that file only. `run` is the folder of the nano model's
/// training, `options` are those of [`Benchmark::Commands`], and `minutes` is the length of [`Benchmark::Monologue`] or
/// [`Benchmark::Siege`].
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
