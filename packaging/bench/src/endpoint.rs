//! Endpoints of utterances in quiet, in noise and beside a television.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use gemmad_testbed::Model;
use serde::Deserialize;
use tokio::process::Command;

use crate::{figure::Figure, setting::Bench};

/// Length of a hesitation, in ms.
const PAUSE_MS: u32 = 350;

/// Maximum delay of the endpoint beside a television that goes on, in ms.
const PATIENCE_MS: f64 = 2000.0;

/// A line of the output of `endpoint`.
#[derive(Deserialize)]
struct Endpoint {
    room: String,
    delay_ms: Option<f64>,
    cut_off: bool,
}

/// Measures the endpoints of the nano model's held-out commands.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (room, endpoints) in endpoints(bench, 0).await? {
        figures.extend(of_room(&room, &endpoints)?);
    }
    for (room, endpoints) in endpoints(bench, PAUSE_MS).await? {
        figures.push(of_hesitation(&room, &endpoints)?);
    }
    Ok(figures)
}

/// The endpoints of commands in each room; with a pause, of two commands with that pause between them.
async fn endpoints(bench: &Bench, pause_ms: u32) -> Result<BTreeMap<String, Vec<Endpoint>>> {
    let sets = bench.run.join("evaluation");
    let output = Command::new(bench.llama_cpp.with_file_name("endpoint"))
        .arg("--commands")
        .arg(sets.join("voices.jsonl"))
        .arg("--television")
        .arg(sets.join("transcripts_other.jsonl"))
        .arg("--pause-ms")
        .arg(pause_ms.to_string())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "endpoint failed: {said}");
    let mut rooms: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in str::from_utf8(&output.stdout)?.lines() {
        let endpoint: Endpoint =
            serde_json::from_str(line).context("endpoint printed something else")?;
        rooms
            .entry(endpoint.room.clone())
            .or_default()
            .push(endpoint);
    }
    Ok(rooms)
}

/// Share of the endpoints for which `is_one` holds.
fn share(endpoints: &[Endpoint], is_one: impl Fn(&Endpoint) -> bool) -> Vec<f64> {
    let count = endpoints.iter().filter(|it| is_one(it)).count();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let share = count as f64 / endpoints.len() as f64;
    vec![share]
}

fn of_room(room: &str, endpoints: &[Endpoint]) -> Result<[Figure; 3]> {
    let name = |figure: &str| format!("{figure}_{room}");
    let figure = |name: String, unit, samples| Figure::new(&name, unit, samples, &Model::nano());
    let delays = endpoints.iter().filter_map(|it| it.delay_ms).collect();
    let late = share(endpoints, |it| {
        it.delay_ms.is_none_or(|delay| delay > PATIENCE_MS)
    });
    Ok([
        figure(name("endpoint_ms"), "ms", delays)?.goal("≤ 600 ms").meaning(&format!(
            "From the last sound of a command to the end of its utterance, {}; without the model's opinion, which \
             makes it sooner after a whole command (`[voice] endpoint_command_ms`).",
            place(room)
        )),
        figure(name("endpoint_cut_off"), "", share(endpoints, |it| it.cut_off))?
            .goal("≤ 0.01")
            .meaning("Share of the commands during which an utterance ended."),
        figure(name("endpoint_late"), "", late)?
            .meaning("Share of the commands whose utterance was not over within 2 s."),
    ])
}

fn of_hesitation(room: &str, endpoints: &[Endpoint]) -> Result<Figure> {
    let samples = share(endpoints, |it| it.cut_off);
    let name = format!("endpoint_hesitation_cut_off_{room}");
    let figure = Figure::new(&name, "", samples, &Model::nano())?;
    Ok(figure.meaning(&format!(
        "Share of pairs of commands, {PAUSE_MS} ms of silence apart, that became two utterances, {}. The second is \
         another voice, often quieter, so this is worse than one person who hesitates.",
        place(room)
    )))
}

/// Description of a room.
fn place(room: &str) -> &str {
    match room {
        "noise" => "in steady noise 15 dB below the speech",
        "television" => "beside a television 10 dB below the speech",
        "far" => "by somebody far away: 26 dB quieter than in the others, 25 dB above the noise",
        _ => "in a quiet room",
    }
}
