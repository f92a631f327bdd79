//! Double talk in simulated rooms: how soon a person who speaks over the assistant is noticed by the daemon's canceller
//! and detectors, and how often the assistant takes its own voice for one (`daemon/examples/double_talk`).

use anyhow::{Context, Result, ensure};
use gemmad_testbed::Model;
use serde::Deserialize;
use tokio::process::Command;

use crate::{figure::Figure, setting::Bench};

/// Delay that stands for a person who is not noticed within it, in ms.
const MISSED_MS: f64 = 500.0;

/// A line of the output of `double_talk`: a scene.
#[derive(Deserialize)]
struct Scene {
    echo_db: f64,
    person_db: Option<f64>,
    seconds: f64,
    noticed_ms: Option<f64>,
    alarms: Vec<f64>,
}

/// Level of the echo relative to what is played, in dB, below which a microphone has little gain.
const LITTLE: f64 = -20.0;

/// Measures the rooms and voices that no threshold was chosen by.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let scenes = scenes(bench).await?;
    let delays = |person_db: f64, is_quiet: bool| -> Vec<Option<f64>> {
        let is_person = |it: &&Scene| it.person_db.is_some_and(|it| (it - person_db).abs() < 0.5);
        let of_person = scenes.iter().filter(is_person);
        let chosen = of_person.filter(|it| (it.echo_db < LITTLE) == is_quiet);
        chosen.map(|it| it.noticed_ms).collect()
    };
    let mut figures = Vec::new();
    for (name, person_db, level) in [
        ("quieter", -6.0, "6 dB quieter than the echo"),
        ("as_loud", 0.0, "as loud as the echo"),
        ("louder", 6.0, "6 dB louder than the echo"),
    ] {
        figures.extend(of_person(name, level, &delays(person_db, false))?);
    }
    let figure = |name, value| Figure::new(name, "", vec![value], &Model::nano());
    let missed = missed(&delays(0.0, true));
    figures.push(figure("double_talk_quiet_microphone_missed", missed)?.meaning(
        "The same of persons as loud as the echo, in a microphone with little gain: an echo 25 dB below what is played.",
    ));
    let alone = || scenes.iter().filter(|it| it.person_db.is_none());
    let hours = alone().map(|it| it.seconds).sum::<f64>() / 3600.0;
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let alarms = alone().map(|it| it.alarms.len()).sum::<usize>() as f64;
    let alarms = figure("double_talk_false_alarms", alarms / hours)?;
    figures.push(alarms.meaning(&format!(
        "How often an hour the assistant takes its own voice for a person and pauses, in {:.0} minutes of it, each with \
         devices that were just opened.",
        60.0 * hours
    )));
    Ok(figures)
}

/// Share of persons who were not noticed.
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn missed(delays: &[Option<f64>]) -> f64 {
    let missed = delays.iter().filter(|it| it.is_none()).count();
    missed as f64 / delays.len().max(1) as f64
}

/// The figures of persons at this level.
fn of_person(name: &str, level: &str, delays: &[Option<f64>]) -> Result<[Figure; 3]> {
    let noticed: Vec<f64> = delays.iter().flatten().copied().collect();
    ensure!(!noticed.is_empty(), "no person {level} was noticed");
    let mut all: Vec<f64> = delays.iter().map(|it| it.unwrap_or(MISSED_MS)).collect();
    all.sort_by(f64::total_cmp);
    let most = all[(all.len() * 95).div_ceil(100) - 1];
    let figure = |kind: &str, unit, samples| {
        Figure::new(
            &format!("double_talk_{name}_{kind}"),
            unit,
            samples,
            &Model::nano(),
        )
    };
    Ok([
        figure("ms", "ms", noticed)?.meaning(&format!(
            "From when a person {level} begins to speak over the assistant to the guess that pauses it, in the sound; \
             {} of them in three simulated rooms (200, 400 and 600 ms of reverberation), with echoes 0 and 10 dB below \
             what is played, from loudspeakers that distort or do not.",
            delays.len()
        )),
        figure("p95_ms", "ms", vec![most])?
            .meaning("The same: 19 of 20 are as soon. A person who is missed counts as 500 ms."),
        figure("missed", "", vec![missed(delays)])?
            .meaning("Share of them who are not noticed within 500 ms."),
    ])
}

async fn scenes(bench: &Bench) -> Result<Vec<Scene>> {
    let output = Command::new(bench.llama_cpp.with_file_name("double_talk"))
        .arg("--json")
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "double_talk failed: {said}");
    let scene = |line| serde_json::from_str(line).context("double_talk printed something else");
    str::from_utf8(&output.stdout)?.lines().map(scene).collect()
}
