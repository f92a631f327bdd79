//! When utterances end, in quiet, in noise and beside a television.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use gemmad_testbed::Model;
use serde::Deserialize;
use tokio::process::Command;

use super::{Bench, Figure};

/// By when an utterance has to be over although a television goes on, in ms.
const PATIENCE_MS: f64 = 2000.0;

/// What `endpoint` prints.
#[derive(Deserialize)]
struct Endpoint {
    room: String,
    delay_ms: Option<f64>,
    cut_off: bool,
}

/// Measures the endpoints of the nano model's held-out commands.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut rooms: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for endpoint in endpoints(bench).await? {
        rooms
            .entry(endpoint.room.clone())
            .or_default()
            .push(endpoint);
    }
    let mut figures = Vec::new();
    for (room, endpoints) in rooms {
        figures.extend(of_room(&room, &endpoints)?);
    }
    Ok(figures)
}

async fn endpoints(bench: &Bench) -> Result<Vec<Endpoint>> {
    let sets = bench.run.join("evaluation");
    let output = Command::new(bench.llama_cpp.with_file_name("endpoint"))
        .arg("--commands")
        .arg(sets.join("voices.jsonl"))
        .arg("--television")
        .arg(sets.join("transcripts_other.jsonl"))
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "endpoint failed: {said}");
    let lines = str::from_utf8(&output.stdout)?.lines();
    let endpoint = |line| serde_json::from_str(line).context("endpoint printed something else");
    lines.map(endpoint).collect()
}

fn of_room(room: &str, endpoints: &[Endpoint]) -> Result<[Figure; 3]> {
    let share = |is_one: &dyn Fn(&Endpoint) -> bool| {
        let count = endpoints.iter().filter(|it| is_one(it)).count();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let share = count as f64 / endpoints.len() as f64;
        vec![share]
    };
    let name = |figure: &str| format!("{figure}_{room}");
    let figure = |name: String, unit, samples| Figure::new(&name, unit, samples, &Model::nano());
    let delays = endpoints.iter().filter_map(|it| it.delay_ms).collect();
    let late = share(&|it| it.delay_ms.is_none_or(|delay| delay > PATIENCE_MS));
    Ok([
        figure(name("endpoint_ms"), "ms", delays)?.goal("≤ 600 ms").meaning(&format!(
            "From the last sound of a command to the end of its utterance, {}; without the model's opinion, which \
             makes it sooner after a whole command (`[voice] endpoint_command_ms`).",
            place(room)
        )),
        figure(name("endpoint_cut_off"), "", share(&|it| it.cut_off))?
            .goal("≤ 0.01")
            .meaning("Share of the commands during which an utterance ended."),
        figure(name("endpoint_late"), "", late)?
            .meaning("Share of the commands whose utterance was not over within 2 s."),
    ])
}

/// Where that is.
fn place(room: &str) -> &str {
    match room {
        "noise" => "in steady noise 15 dB below the speech",
        "television" => "beside a television 10 dB below the speech",
        _ => "in a quiet room",
    }
}
