//! `gemmactl transcribe`: the transcript of a sound file.

use gemmad_api::{Dict, ManagerProxy, Stats, TranscribeOptions, from_dict};
use serde_json::{Map, Value};
use zbus::Fd;

use crate::{
    args::Transcribe,
    bus::Way,
    failure::Failure,
    input::Source,
    statistics::{missing, summary, whole},
    terminal::{self, Output},
};

/// Transcribes the file, and prints the text.
pub async fn run(transcribe: Transcribe, way: &Way) -> Result<(), Failure> {
    let file = Source::named(&transcribe.file).sound().await?;
    let connection = way.connect().await?;
    let manager = ManagerProxy::new(&connection).await?;
    let options = TranscribeOptions {
        language: transcribe.language,
    };
    let (text, stats) = manager.transcribe(Fd::from(file), options).await?;
    let mut output = Output::new();
    if transcribe.json {
        output.json(&json(&text, &stats)).await?;
    } else {
        output.write(&text).await?;
        output.end_line().await?;
    }
    // Statistics that an older daemon does not send are 0.
    let stats: Stats = from_dict(&stats).unwrap_or_default();
    if let Some(missing) = missing(&stats) {
        terminal::note(&missing);
    }
    if transcribe.verbose {
        terminal::note(&summary(&stats));
    }
    whole(&stats)
}

fn json(text: &str, stats: &Dict) -> Map<String, Value> {
    // Any dictionary of plain values converts to a map.
    let mut object: Map<String, Value> = from_dict(stats).unwrap_or_default();
    object.insert("text".into(), text.into());
    object
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
        let object = json("Turn \"it\" on.", &to_dict(&stats));
        assert_eq!(object["text"], "Turn \"it\" on.");
        assert_eq!(object["audio_tokens"], 50);
        assert_eq!(object["finish"], "stop");
    }
}
