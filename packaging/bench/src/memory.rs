//! What a model takes of memory, beside what gemmad predicted; and what stays behind when models are swapped.

use std::fs::{self, File};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use gemmad_api::{AskOptions, Memory, TranscribeOptions, from_dict};
use gemmad_testbed::{Bus, Daemon, Model, nano, speech};
use tokio::process::Command;
use xtask::command::root;

use crate::{ask, figure::Figure, setting::Bench};

/// Swaps from one model to the other and back.
const SWAPS: usize = 10;

/// Measures the error of the prediction with and without repacked weights, and the growth by swaps.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, repacks) in [("repacked", true), ("mapped", false)] {
        let (planned, used) = taken(bench, repacks).await?;
        let error = (planned / used - 1.0).abs();
        let figure = |part: &str, unit: &str, sample| {
            Figure::new(
                &format!("load_memory_{name}_{part}"),
                unit,
                vec![sample],
                &bench.shape,
            )
        };
        figures.push(figure("mb", "MB", used)?.meaning(
            "Memory that the model uses to answer text, sound and a command: all but pages of its files that were not read again",
        ));
        figures.push(figure("error", "", error)?.goal("≤ 0.1").meaning(
            "Difference between that and what was predicted before it was loaded, as a share of it",
        ));
    }
    figures.push(
        Figure::new("swap_growth_mb", "MB", vec![growth(bench).await?], &bench.shape)?
            .goal("≤ 10 MB")
            .meaning("Memory without a file behind it after ten swaps between this and the nano model, more than after one"),
    );
    Ok(figures)
}

/// The predicted and the measured memory, in MB.
async fn taken(bench: &Bench, repacks: bool) -> Result<(f64, f64)> {
    let bus = Bus::start().await?;
    let daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&bench.shape)
        .commands(&root().join("configs/commands"))
        .set("model", "repack", repacks)
        .start()
        .await?;
    let memory: Memory = from_dict(&daemon.manager().memory().await?)?;
    let process = daemon.process().context("gemmad has ended")?;
    // From now on the kernel notes which pages are referenced (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{process}/clear_refs"), "1")?;
    ask::ask(&daemon, &"Tell me about the sea. ".repeat(40), 16).await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("question.wav");
    speech::write_wav(&path, &speech::say(nano::QUESTION, "en-us")?)?;
    let sound = File::open(path)?;
    let transcribed = daemon
        .manager()
        .transcribe(sound.as_fd().into(), TranscribeOptions::default());
    transcribed.await?;
    let mut command = Command::from(daemon.gemmactl()?);
    command
        .args(["command", "--dry-run", "stop"])
        .output()
        .await?;
    let used = working_set(process)?;
    daemon.stop().await?;
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory are below 2^52")]
    Ok((memory.planned as f64 / 1e6, used as f64 * 1.024e-3))
}

/// Kilobytes without a file behind them, and those of files that were referenced.
fn working_set(process: u32) -> Result<u64> {
    let mut sum = 0;
    let mut has_file = false;
    for line in fs::read_to_string(format!("/proc/{process}/smaps"))?.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            continue;
        };
        let kilobytes = || second.parse::<u64>().unwrap_or(0);
        match first {
            "Rss:" if !has_file => sum += kilobytes(),
            "Referenced:" if has_file => sum += kilobytes(),
            _ if first.contains('-') && !first.ends_with(':') => {
                // Permissions, offset, device, inode, path.
                has_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
            }
            _ => {}
        }
    }
    Ok(sum)
}

/// Growth of the memory without a file behind it, in MB, by all swaps but the first.
async fn growth(bench: &Bench) -> Result<f64> {
    let bus = Bus::start().await?;
    let mut daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&bench.shape)
        .start()
        .await?;
    let small = Model::nano();
    let mut sizes = Vec::new();
    for _ in 0..SWAPS {
        for model in [&small, &bench.shape] {
            daemon.write("model", "text", model.text.to_string_lossy().as_ref())?;
            daemon.write("model", "mmproj", model.mmproj.to_string_lossy().as_ref())?;
            daemon.manager().reload().await?;
            daemon.manager().load_model().await?;
            daemon
                .manager()
                .ask(
                    nano::QUESTION,
                    AskOptions {
                        max_tokens: Some(4),
                        ..AskOptions::default()
                    },
                )
                .await?;
        }
        sizes.push(anonymous(daemon.process().context("gemmad has ended")?)?);
    }
    daemon.stop().await?;
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        return Ok(0.0);
    };
    Ok((last - first) / 1000.0 * 1.024)
}

/// Kilobytes without a file behind them.
pub fn anonymous(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number
        .context("the kernel does not tell RssAnon")?
        .parse()?)
}
