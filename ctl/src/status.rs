//! `gemmactl status`: the state of the daemon, also while it loads the model.

use gemmad_api::{Health, ManagerProxy, ManagerState, Memory, VoiceProxy, VoiceState, from_dict};
use serde::Serialize;
use zbus::{Connection, proxy::CacheProperties};

use crate::{
    args,
    bus::Way,
    failure::Failure,
    terminal::{Output, one_line},
};

/// Prints the state.
pub async fn run(options: &args::Status, way: &Way) -> Result<(), Failure> {
    let status = Status::read(&way.connect().await?).await?;
    let mut output = Output::new();
    if options.json {
        output.json(&status).await
    } else {
        output.line(&status.text()).await
    }
}

/// The properties of the objects of `Manager` and `Voice`.
#[derive(Debug, Serialize)]
struct Status {
    state: ManagerState,
    version: String,
    model: String,
    deaf: String,
    problem: String,
    voice: Voice,
    memory: Memory,
    health: Health,
}

#[derive(Debug, Serialize)]
struct Voice {
    state: VoiceState,
    device: String,
    muted: bool,
    problem: String,
    loudspeaker: String,
    speech_problem: String,
}

impl Status {
    async fn read(connection: &Connection) -> Result<Self, Failure> {
        let builder = ManagerProxy::builder(connection);
        let manager = builder
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let builder = VoiceProxy::builder(connection);
        let voice = builder
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        Ok(Self {
            state: manager.state().await?,
            version: manager.version().await?,
            model: manager.model().await?,
            // An older daemon does not tell.
            deaf: manager.deaf().await.unwrap_or_default(),
            problem: manager.problem().await?,
            voice: Voice {
                state: voice.state().await?,
                device: voice.device().await?,
                muted: voice.muted().await?,
                problem: voice.problem().await?,
                loudspeaker: voice.loudspeaker().await?,
                speech_problem: voice.speech_problem().await?,
            },
            memory: from_dict(&manager.memory().await?).unwrap_or_default(),
            // Counts that an older daemon does not send are 0.
            health: from_dict(&manager.health().await?).unwrap_or_default(),
        })
    }

    fn text(&self) -> String {
        let Health {
            active,
            queued,
            turns,
            backlog_ms,
            cells_used,
            cells_total,
            prefix_cells,
            long_cells,
            finished,
        } = self.health;
        let muted = if self.voice.muted { ", muted" } else { "" };
        let mut rows = vec![
            ("state", word(&self.state)),
            ("version", self.version.clone()),
            ("model", or_none(&self.model)),
            ("voice", word(&self.voice.state) + muted),
            ("microphone", or_none(&self.voice.device)),
            ("loudspeaker", or_none(&self.voice.loudspeaker)),
            (
                "requests",
                format!("{active} active, {queued} waiting, {finished} finished"),
            ),
            (
                "KV cache",
                format!("{cells_used} of {cells_total} cells, system prompt {prefix_cells}"),
            ),
        ];
        if !self.deaf.is_empty() {
            rows.push(("hearing", format!("none: {}", self.deaf)));
        }
        if long_cells > 0 {
            let cells = format!("{long_cells} cells for a long question alone");
            rows.push(("context", cells));
        }
        let Memory { planned, available } = self.memory;
        if planned > 0 || available > 0 {
            let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
            let (planned, available) = (megabytes(planned), megabytes(available));
            rows.push((
                "memory",
                format!("{planned} MB for the model, {available} MB left"),
            ));
        }
        if turns > 0 {
            let behind = format!("{turns} being spoken, {backlog_ms} ms behind");
            rows.push(("turns", behind));
        }
        let Voice {
            problem,
            speech_problem,
            ..
        } = &self.voice;
        for problem in [&self.problem, problem, speech_problem] {
            if !problem.is_empty() {
                rows.push(("problem", problem.clone()));
            }
        }
        let rows = rows
            .iter()
            .map(|(name, value)| format!("{name:<11} {}", one_line(value)));
        rows.collect::<Vec<_>>().join("\n")
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none" } else { text }.into()
}

/// The state, spelled as on the bus.
fn word(state: &impl Serialize) -> String {
    let word = serde_json::to_value(state).ok();
    word.and_then(|word| Some(word.as_str()?.to_owned()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            state: ManagerState::Degraded,
            version: "0.1.0".into(),
            model: "gemma-4-nano".into(),
            deaf: "[model] mmproj names no projector".into(),
            problem: String::new(),
            voice: Voice {
                state: VoiceState::Off,
                device: String::new(),
                muted: true,
                problem: "there is no microphone; plug one in".into(),
                loudspeaker: String::new(),
                speech_problem: String::new(),
            },
            memory: Memory {
                planned: 2_239_000_000,
                available: 1_000_000_000,
            },
            health: Health {
                active: 1,
                cells_used: 30,
                cells_total: 4096,
                prefix_cells: 12,
                ..Health::default()
            },
        }
    }

    #[test]
    fn people_get_a_table_with_only_the_problems_there_are() {
        let expected = "\
state       degraded
version     0.1.0
model       gemma-4-nano
voice       off, muted
microphone  none
loudspeaker none
requests    1 active, 0 waiting, 0 finished
KV cache    30 of 4096 cells, system prompt 12
hearing     none: [model] mmproj names no projector
memory      2239 MB for the model, 1000 MB left
problem     there is no microphone; plug one in";
        assert_eq!(status().text(), expected);
    }

    #[test]
    fn programs_get_the_properties_as_json() {
        let json = serde_json::to_value(status()).unwrap();
        assert_eq!(json["state"], "degraded");
        assert_eq!(json["voice"]["muted"], true);
        assert_eq!(json["health"]["cells_total"], 4096);
    }
}
