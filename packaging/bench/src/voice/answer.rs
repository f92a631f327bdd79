//! From the last sample of speech to the first token of the answer, and to its first sound.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use gemmad_api::{Stats, from_dict};
use gemmad_testbed::{Bus, Daemon, LOUDSPEAKER_RATE, Loudspeaker, Microphone, Model, speech};
use tokio::time::timeout;

use super::PATIENCE;
use crate::{commands::end_of_words, figure::Figure, setting::Bench};

/// The sentences, spoken one after the other.
const SENTENCES: [&str; 5] = [
    "turn on the kitchen light",
    "set a timer for ten minutes",
    "what time is it",
    "play some music",
    "turn off the bedroom light",
];

/// Range below the loudest part in which a sentence is audible, in dB.
const AUDIBLE: f32 = 20.0;

/// Silence between two turns.
const SILENCE: Duration = Duration::from_millis(500);

/// Length of the answer's first clause in tokens; the output of random weights has no punctuation.
const CLAUSE: i64 = 8;

/// Measures `speech_to_token_ms` and `voice_to_voice_ms` of the nano model and of the E2B shape.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, model) in [("nano", Model::nano()), ("e2b", bench.shape.clone())] {
        let samples = latencies(bench, &model).await?;
        let figure = Figure::new(&format!("{name}_speech_to_token_ms"), "ms", samples, &model)?;
        figures.push(figure.meaning(
            "From the last sample of speech, as the daemon hears it, to the first token of the answer, which is \
             begun after 160 ms of silence and told when the end is certain (`[voice] endpoint_ms`).",
        ));
        for is_speculative in [true, false] {
            figures.push(voice_to_voice(bench, name, &model, is_speculative).await?);
        }
    }
    Ok(figures)
}

async fn voice_to_voice(
    bench: &Bench,
    name: &str,
    model: &Model,
    is_speculative: bool,
) -> Result<Figure> {
    let samples = until_heard(bench, model, is_speculative).await?;
    let suffix = if is_speculative { "" } else { "_unspeculative" };
    let figure = Figure::new(
        &format!("{name}_voice_to_voice_ms{suffix}"),
        "ms",
        samples,
        model,
    )?;
    let figure = figure.meaning(if is_speculative {
        "From the last sample of speech in the microphone to the first of the spoken answer, of 8 tokens, at the \
         loudspeaker, whose driver holds 30 ms; `[voice] endpoint_ms` and espeak-ng included."
    } else {
        "The same when the answer is begun at the endpoint only (`speculative = false`)."
    });
    Ok(if name == "e2b" {
        figure.goal("≤ 1500 ms")
    } else {
        figure
    })
}

/// Times from the end of speech to the sound of the answer, in ms.
async fn until_heard(bench: &Bench, model: &Model, is_speculative: bool) -> Result<Vec<f64>> {
    let bus = Bus::start().await?;
    let loudspeaker = Loudspeaker::alsa()?;
    let microphone = Microphone::alsa_beside(&loudspeaker, None)?;
    let mut daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(model)
        .set("answer", "max_tokens", CLAUSE)
        .set("voice", "transcript", false)
        .set("voice", "speculative", is_speculative)
        .microphone(&microphone)
        .loudspeaker(&loudspeaker)
        .start()
        .await?;
    daemon.until_it_listens().await?;
    let mut samples = Vec::new();
    for sentence in SENTENCES.iter().chain(&SENTENCES) {
        let mut sound = speech::silence(500);
        sound.extend(speech::say(sentence, "en-us")?);
        let end = end_of_words(&sound, AUDIBLE);
        sound.extend(speech::silence(1000));
        let begin = loudspeaker.now();
        let (played, heard) = tokio::join!(
            microphone.play(&sound),
            timeout(PATIENCE, loudspeaker.sounds(begin))
        );
        played?;
        // Random weights may produce text that cannot be spoken.
        if let Ok(heard) = heard {
            #[expect(clippy::cast_precision_loss, reason = "some seconds")]
            let since = (heard - begin) as f64 / f64::from(LOUDSPEAKER_RATE);
            samples.push((since - end.as_secs_f64()) * 1000.0);
        }
        daemon.voice().stop().await?;
        daemon.until_it_listens().await?;
        loudspeaker.is_silent(loudspeaker.now(), SILENCE).await;
    }
    Ok(samples)
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
        // Random weights find no end, and would still transcribe the first turn when the third is spoken.
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
