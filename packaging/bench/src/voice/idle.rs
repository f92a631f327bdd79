//! Cost of listening without speech.

use std::time::Duration;

use anyhow::{Context, Result};
use gemmad_api::VoiceState;
use gemmad_testbed::{Bus, Daemon, Microphone, Model};

use crate::{figure::Figure, setting::Bench};

/// Time over which the daemon is observed.
const WINDOW: Duration = Duration::from_mins(1);

/// Measures processor time and memory in mode `wake`, in a room whose microphone hisses a little.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let microphone = Microphone::alsa()?;
    let model = Model::nano();
    let daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&model)
        .set("voice", "mode", "wake")
        .keyword("hey_gemma", "wake")
        .microphone(&microphone)
        .start()
        .await?;
    daemon.until_voice_is(VoiceState::Waiting).await?;
    let process = daemon.process().context("gemmad has ended")?;
    let before = processor_time(process)?;
    microphone.play(&hiss(WINDOW)).await?;
    let used = processor_time(process)? - before;
    let memory = beyond(&model, resident(process)?)?;
    Ok(vec![
        Figure::new(
            "idle_cpu_percent",
            "%",
            vec![100.0 * used / WINDOW.as_secs_f64()],
            &model,
        )?
        .goal("≤ 3 %")
        .meaning("Processor time of one core in mode `wake` while nobody speaks."),
        Figure::new("idle_memory_mb", "MB", vec![memory], &model)?
            .goal("≤ 60 MB")
            .meaning("Resident memory then, beyond the files of the model."),
    ])
}

/// Noise at -60 dBFS.
fn hiss(time: Duration) -> Vec<f32> {
    let count = time.as_millis() * u128::from(gemmad_testbed::speech::RATE) / 1000;
    let mut random = 1_u32;
    let mut sample = |_| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let share = f64::from(random >> 8) / f64::from(1 << 24);
        #[expect(clippy::cast_possible_truncation, reason = "a sample")]
        let sample = (2.0 * share - 1.0) as f32 * 1e-3;
        sample
    };
    (0..count).map(&mut sample).collect()
}

/// Processor time of a process so far, in s.
fn processor_time(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The process's name, in parentheses, may contain spaces.
    let (_, fields) = text.rsplit_once(')').context("/proc has another form")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // Linux reports ticks of 10 ms to all programs (USER_HZ).
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("/proc has another form")?.parse::<f64>()? * 1024.0)
}

/// The part of `bytes` beyond the size of a model's files, in MB.
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
fn beyond(model: &Model, bytes: f64) -> Result<f64> {
    let files = [&model.text, &model.mmproj];
    let sizes: Vec<u64> = files
        .iter()
        .map(|file| Ok(std::fs::metadata(file)?.len()))
        .collect::<Result<_>>()?;
    Ok((bytes - sizes.iter().sum::<u64>() as f64) / 1e6)
}

/// Number of open descriptors of a process.
pub fn descriptors(process: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// Resident memory of a process, in MB.
pub fn memory(process: u32) -> Result<f64> {
    Ok(resident(process)? / 1e6)
}
