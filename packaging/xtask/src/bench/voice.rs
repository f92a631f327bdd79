//! From the last sample of speech to the first token of the answer.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use gemmad_api::{Stats, from_dict};
use gemmad_testbed::{Bus, Daemon, Microphone, Model, speech};

use tokio::time::timeout;

use super::{Bench, Figure};

/// What is said, one after the other.
const SENTENCES: [&str; 5] = [
    "turn on the kitchen light",
    "set a timer for ten minutes",
    "what time is it",
    "play some music",
    "turn off the bedroom light",
];

/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures `speech_to_token_ms` of the nano model and of the E2B shape.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, model) in [("nano", Model::nano()), ("e2b", bench.shape.clone())] {
        let samples = latencies(bench, &model).await?;
        let figure = Figure::new(&format!("{name}_speech_to_token_ms"), "ms", samples, &model)?;
        figures.push(figure.meaning(
            "From the last sample of speech, as the daemon hears it, to the first token of the answer, which is \
             begun after 160 ms of silence and told when the end is certain (`[voice] endpoint_ms`, 600 ms).",
        ));
    }
    Ok(figures)
}

async fn latencies(bench: &Bench, model: &Model) -> Result<Vec<f64>> {
    let bus = Bus::start().await?;
    let microphone = Microphone::alsa()?;
    let mut daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(model)
        .set("answer", "max_tokens", 4)
        .microphone(&microphone)
        .start()
        .await?;
    daemon.until_it_listens().await?;
    let mut replies = daemon.voice().receive_reply().await?;
    let mut failures = daemon.voice().receive_failed().await?;
    let mut samples = Vec::new();
    for sentence in SENTENCES {
        microphone.play(&speech::say(sentence, "en-us")?).await?;
        let reply = timeout(PATIENCE, async {
            tokio::select! {
                Some(reply) = replies.next() => Ok(reply.args()?.stats),
                Some(failure) = failures.next() => bail!("{}", failure.args()?.message),
                else => bail!("the bus has gone"),
            }
        });
        let stats = reply
            .await
            .with_context(|| format!("“{sentence}” got no reply"))??;
        // Random weights find no end, and would still write down the first turn when the third is spoken.
        daemon.voice().stop().await?;
        daemon.until_it_listens().await?;
        let stats: Stats = from_dict(&stats)?;
        samples.push(
            stats
                .speech_to_token_ms
                .context("a spoken turn has no latency")?,
        );
    }
    Ok(samples)
}
