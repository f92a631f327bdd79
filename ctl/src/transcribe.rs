//! `gemmactl transcribe`: what is said in a sound file.

use gemmad_api::{Dict, ManagerProxy, Stats, TranscribeOptions, from_dict};
use serde_json::{Map, Value};
use zbus::Fd;

use crate::{
    args::{Bus, Transcribe},
    bus,
    failure::Failure,
    sound,
    statistics::{missing, summary},
    terminal::{self, Output},
};

/// Transcribes the file, and prints the text.
pub async fn run(transcribe: Transcribe, bus: Bus) -> Result<(), Failure> {
    let file = sound::open(&transcribe.file).await?;
    let connection = bus::connect(bus).await?;
    let manager = ManagerProxy::new(&connection).await?;
    let options = TranscribeOptions {
        language: transcribe.language,
    };
    let (text, stats) = manager.transcribe(Fd::from(file), options).await?;
    let mut output = Output::new();
    if transcribe.json {
        output.line(&json(&text, &stats)).await?;
    } else {
        output.write(&text).await?;
        output.end_line().await?;
    }
    let stats: Stats = from_dict(&stats).unwrap_or_default();
    if let Some(missing) = missing(&stats) {
        terminal::note(&missing);
    }
    if transcribe.verbose {
        terminal::note(&summary(&stats));
    }
    Ok(())
}

fn json(text: &str, stats: &Dict) -> String {
    // Any dictionary of plain values is such a map.
    let mut object: Map<String, Value> = from_dict(stats).unwrap_or_default();
    object.insert("text".into(), text.into());
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use gemmad_api::to_dict;

    use super::*;

    #[test]
    fn text_and_statistics_are_one_json_object() {
        let stats = Stats {
            audio_tokens: 50,
            ..Stats::default()
        };
        let object: Value =
            serde_json::from_str(&json("Turn \"it\" on.", &to_dict(&stats))).unwrap();
        assert_eq!(object["text"], "Turn \"it\" on.");
        assert_eq!(object["audio_tokens"], 50);
        assert_eq!(object["finish"], "stop");
    }
}
