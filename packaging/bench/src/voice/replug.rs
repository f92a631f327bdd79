//! A microphone that is unplugged and plugged in repeatedly, each time with another encoding.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use gemmad_testbed::{Bus, Daemon, Encoding, Microphone, Model, nano, speech};
use tokio::time::timeout;

use super::{PATIENCE, idle};
use crate::{figure::Figure, setting::Bench};

/// Number of times.
const TIMES: usize = 50;

/// Its encodings in turn: rate in Hz, and channels.
const ENCODINGS: [(u32, u16); 5] = [
    (16_000, 1),
    (44_100, 2),
    (48_000, 8),
    (96_000, 1),
    (48_000, 2),
];

/// Counts how often the microphone is heard again, and measures leaks of descriptors and memory.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let mut microphone = Microphone::pulse(Encoding::default()).await?;
    let model = Model::nano();
    let daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&model)
        .microphone(&microphone)
        .start()
        .await?;
    let process = daemon.process().context("gemmad has ended")?;
    let mut replies = daemon.voice().receive_reply().await?;
    let mut sound = speech::silence(500);
    sound.extend(speech::say(nano::QUESTION, "en-us")?);
    sound.extend(speech::silence(1200));
    let mut recovered = Vec::new();
    let mut before = (0, 0.0);
    for (nth, (rate, channels)) in ENCODINGS.iter().cycle().take(TIMES).enumerate() {
        microphone.unplug_for(Encoding::of_16_bits(*rate, *channels));
        let replugged = async {
            daemon.until_microphone_is(false).await?;
            microphone.plug_in().await?;
            daemon.until_microphone_is(true).await
        };
        timeout(PATIENCE, replugged)
            .await
            .map_err(anyhow::Error::from)
            .and_then(|replugged| Ok(replugged?))
            .with_context(|| format!("at {nth}, gemmad said:\n{}", daemon.log()))?;
        microphone.play(&sound).await?;
        let reply = timeout(PATIENCE, replies.next()).await;
        let text = match reply {
            Ok(Some(reply)) => reply.args()?.text.clone(),
            _ => String::new(),
        };
        recovered.push(f64::from(u8::from(text == nano::ANSWER)));
        // What the first round of all encodings leaves is no leak.
        if nth == ENCODINGS.len() {
            before = (idle::descriptors(process)?, idle::memory(process)?);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let share = recovered.iter().sum::<f64>() / TIMES as f64;
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let descriptors = idle::descriptors(process)? as f64 - before.0 as f64;
    let memory = idle::memory(process)? - before.1;
    Ok(vec![
        Figure::new("replugged", "", vec![share], &model)?
            .goal("= 1")
            .meaning(&format!(
                "Share of {TIMES} times in which a microphone that was pulled out is heard and understood again, as \
                 one of 16, 44.1, 48 and 96 kHz with 1, 2 and 8 channels in turn."
            )),
        Figure::new("replug_descriptors", "", vec![descriptors], &model)?
            .goal("= 0")
            .meaning("How many more files are open after it than after the first six times."),
        Figure::new("replug_memory_mb", "MB", vec![memory], &model)?
            .meaning("How much more memory is resident after it than after the first six times."),
    ])
}
