//! A run of benchmarks: what the user asks for, and the files that it writes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use xtask::{command::root, recordings::Run, say, setup};

use crate::{
    benchmark::Benchmark,
    commands, conversation, double_talk, endpoint,
    figure::{self, Figure, Figures},
    keyword, late, long, memory, nano, overhead, people, quiet,
    setting::Bench,
    siege, speed, turn, vocabulary, voice,
};

/// Share of the machine that other work may take before the user is told, in percent.
const BUSY: f64 = 10.0;

/// The benchmarks to run, and their parameters.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Run only this benchmark.
    name: Option<Benchmark>,
    /// Write the figures into this file, and leave docs/figures.json and docs/performance.md unchanged.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    commands: commands::Options,
    /// Minutes for which the assistant speaks in `monologue` (default 60), or is misused in `siege` (default 10).
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// The split of the corpus that `people` measures. Thresholds may be chosen by `tuning`; nothing by `held-out`.
    #[arg(long, value_name = "SPLIT", default_value = "held-out")]
    split: String,
}

/// Runs one benchmark, or all that are not long.
pub fn run(wanted: &Wanted) -> Result<()> {
    setup::run()?;
    let only = wanted.name;
    let chosen = Benchmark::value_variants().iter().copied();
    let chosen: Vec<_> = chosen
        .filter(|one| only.map_or(!one.is_long(), |only| only == *one))
        .collect();
    let bench = Bench::prepare(&chosen, wanted.run.folder.clone())?;
    let kept = root().join("docs/figures.json");
    let file = wanted.json.as_ref().unwrap_or(&kept);
    let mut figures = Figures::load(file)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        for benchmark in chosen {
            say::step(&format!("Measuring {}", benchmark.name()));
            let before = quiet::other_work().await?;
            let measured = measure(benchmark, &bench, wanted)
                .await
                .with_context(|| format!("cannot measure {}", benchmark.name()))?;
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
    if wanted.json.is_none() {
        let page = root().join("docs/performance.md");
        std::fs::write(&page, figures.page())?;
        say::success(&format!("{} is written", page.display()));
    }
    Ok(())
}

async fn measure(benchmark: Benchmark, bench: &Bench, wanted: &Wanted) -> Result<Vec<Figure>> {
    let minutes = |default| wanted.minutes.unwrap_or(default);
    match benchmark {
        Benchmark::Speed => speed::measure(bench).await,
        Benchmark::Overhead => overhead::measure(bench).await,
        Benchmark::Conversation => conversation::measure(bench).await,
        Benchmark::Turn => turn::measure(bench).await,
        Benchmark::Voice => voice::answer::measure(bench).await,
        Benchmark::Digits => voice::digits::measure(bench).await,
        Benchmark::BargeIn => voice::barge_in::measure(bench).await,
        Benchmark::Monologue => voice::barge_in::monologue(bench, minutes(60)).await,
        Benchmark::Idle => voice::idle::measure(bench).await,
        Benchmark::Replug => voice::replug::measure(bench).await,
        Benchmark::DoubleTalk => double_talk::measure(bench).await,
        Benchmark::Endpoint => endpoint::measure(bench).await,
        Benchmark::Keyword => keyword::measure(bench).await,
        Benchmark::Halt => keyword::halting(bench).await,
        Benchmark::LateStarts => late::measure(bench).await,
        Benchmark::Siege => siege::measure(bench, minutes(10)).await,
        Benchmark::People => people::measure(bench, &wanted.split).await,
        Benchmark::Commands => commands::measure(bench, &wanted.commands).await,
        Benchmark::Memory => memory::measure(bench).await,
        Benchmark::Long => long::measure(bench).await,
        Benchmark::Vocabulary => vocabulary::measure(bench).await,
        Benchmark::Nano => nano::measure(bench).await,
    }
}
