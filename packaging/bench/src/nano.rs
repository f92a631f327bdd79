//! Accuracy of the nano model: gemmad is asked the held-out sets of its recipe over the bus.
//!
//! `models/nano/README.md` describes the sets and defines the figures. Questions are asked one at a time
//! and answered greedily, so that the same files give the same figures.

mod card;
mod report;
mod score;
pub mod set;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use gemmad_testbed::{Binaries, Bus, Daemon, Model};
use xtask::{
    recordings::{Run, held_out_sets},
    say, setup,
};

use crate::{
    figure::{self, Figure},
    setting::{Bench, release},
};
use report::{COMPARED, Change, File, Report, Variant};
use score::Score;
pub use score::word_error_rate;

/// The held-out sets.
const SETS: [&str; 9] = [
    "voices",
    "voices_10db",
    "combos",
    "other_engine",
    "text",
    "out_of_domain",
    "no_speech",
    "transcripts",
    "transcripts_other",
];

/// What to evaluate.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    run: Run,
    /// Ask only the first N questions of each set: a quick look, not a measurement.
    #[arg(long, value_name = "N", hide = true)]
    limit: Option<usize>,
}

/// Measures the GGUF files of a run.
pub fn evaluate(options: &Options) -> Result<()> {
    let run = &options.run.folder;
    let model = of_run(run);
    ensure!(
        model.text.exists() && model.mmproj.exists(),
        "there are no GGUF files in {folder}; `cargo xtask nano export --run {folder}` writes them",
        folder = run.display()
    );
    setup::run()?;
    let binaries = Binaries::in_folder(&release()?)?;
    held_out_sets(run)?;
    say::step("Asking the held-out sets");
    let examined = examine(&binaries, &model, run, options.limit);
    let report = tokio::runtime::Runtime::new()?.block_on(examined)?;
    let figures = report.figures(&model)?;
    figure::show(&figures);
    report.show();
    report.save(run)
}

/// Measures the shipped model, and writes its card.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let model = Model::nano();
    let report = examine(&bench.binaries, &model, &bench.run, None).await?;
    report.show();
    report.save(&bench.run)?;
    let figures = report.figures(&model)?;
    card::write(&report, &figures)?;
    Ok(figures)
}

/// Asks all sets and variants.
async fn examine(
    binaries: &Binaries,
    model: &Model,
    run: &Path,
    limit: Option<usize>,
) -> Result<Report> {
    let bus = Bus::start().await?;
    let setup = |model: &Model| {
        let setup = Daemon::setup(&bus).binaries(binaries.clone()).model(model);
        // For a model this small, threads that wait for each other lose time when other work runs.
        setup.set("engine", "threads", 1)
    };
    let evaluation = run.join("evaluation");
    let mut files = vec![File::read(&model.text)?, File::read(&model.mmproj)?];
    let mut sets = Vec::new();
    let daemon = setup(model).start().await?;
    for name in SETS {
        let score = score(&daemon, &evaluation, name, limit).await?;
        say::result(&format!("{name:<17}"), &score.summary());
        sets.push(score);
    }
    daemon.stop().await?;

    let mut changed = vec![
        (
            Change::Encoder,
            setup(model).set("model", "encoder_weights", "q8_0"),
        ),
        (Change::Mel, setup(model).set("model", "mel", "llama.cpp")),
    ];
    if let Some(text) = quantised(run, model, &files[0])? {
        files.push(File::read(&text)?);
        let mmproj = model.mmproj.clone();
        // Repacked Q8_0 crashes in ggml's AMX kernels on some processors.
        let setup = setup(&Model { text, mmproj }).set("model", "repack", false);
        changed.push((Change::Text, setup));
    }
    let mut variants = Vec::new();
    for (change, setup) in changed {
        let daemon = setup.start().await?;
        let score = score(&daemon, &evaluation, COMPARED, limit).await?;
        say::result(&format!("{COMPARED}, {change:?}"), &score.summary());
        variants.push(Variant { change, score });
        daemon.stop().await?;
    }
    Report::new(files, sets, variants)
}

/// Asks one set.
async fn score(
    daemon: &Daemon,
    evaluation: &Path,
    name: &str,
    limit: Option<usize>,
) -> Result<Score> {
    let mut answers = Vec::new();
    for question in set::load(evaluation, name, limit)? {
        answers.push(set::ask(daemon, evaluation, question).await?);
    }
    Ok(Score::of(name, &answers))
}

/// The files that `cargo xtask nano export` writes into the folder of a run.
fn of_run(run: &Path) -> Model {
    Model::in_folder(run, "nano-f16")
}

/// The `Q8_0` version of the text model: beside it, or in the run from which it was installed.
fn quantised(run: &Path, model: &Model, text: &File) -> Result<Option<PathBuf>> {
    for folder in [model.text.parent().unwrap_or(run), run] {
        let (f16, q8_0) = (of_run(folder).text, folder.join("nano-q8_0.gguf"));
        if q8_0.exists() && f16.exists() && File::read(&f16)?.sha256 == text.sha256 {
            return Ok(Some(q8_0));
        }
    }
    Ok(None)
}
