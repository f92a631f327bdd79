//! A question of 60,000 tokens, in a context of its own: whether it is answered, and with how much memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gemmad_testbed::{Bus, Daemon};
use tokio::time::interval;

use crate::{ask, figure::Figure, memory::anonymous, setting::Bench};

/// Repeats of a sentence, which has 16 tokens of the invented vocabulary.
const SENTENCES: usize = 3_850;

/// How often the memory is looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// Measures one such question.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&bench.shape)
        .start()
        .await?;
    ask::ask(&daemon, "Begin.", 4).await?;
    let process = daemon.process().context("gemmad has ended")?;
    let before = anonymous(process)?;
    let text = "The sea is wide and deep. ".repeat(SENTENCES);
    let started = Instant::now();
    let (mut most, mut glances) = (before, interval(GLANCE));
    let answer = {
        let mut asking = std::pin::pin!(ask::ask(&daemon, &text, 16));
        loop {
            tokio::select! {
                answer = &mut asking => break answer?,
                _ = glances.tick() => most = most.max(anonymous(process)?),
            }
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let announced = announced(&daemon.log()).context("the log announces no context")?;
    let after = anonymous(process)?;
    daemon.stop().await?;
    let taken = (most - before) * 1024.0;
    ensure!(taken > 0.0, "it took no memory");
    let figure =
        |name: &str, unit: &str, sample: f64| Figure::new(name, unit, vec![sample], &bench.shape);
    Ok(vec![
        figure("long_context_tokens", "", answer.stats.prompt_tokens.into())?
            .goal("≥ 60000")
            .meaning("Tokens of a question that was answered in a context of its own"),
        figure("long_context_s", "s", seconds)?
            .meaning("From that question to the end of its answer, 16 tokens"),
        figure("long_context_mb", "MB", taken / 1e6)?.meaning("Memory that it took meanwhile"),
        figure(
            "long_context_memory_error",
            "",
            (announced / taken - 1.0).abs(),
        )?
        .goal("≤ 0.1")
        .meaning("Difference between that and what was announced, as a share of it"),
        figure("long_context_left_mb", "MB", (after - before) * 1.024e-3)?
            .meaning("Memory that stays behind afterwards"),
    ])
}

/// Bytes of the context that the log announces.
fn announced(log: &str) -> Option<f64> {
    let line = log
        .lines()
        .find(|line| line.contains("context of its own"))?;
    let number = line.split("bytes=").nth(1)?;
    number.split_whitespace().next()?.parse().ok()
}
