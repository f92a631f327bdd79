//! Time that bus, daemon and client add to the engine's own. The nano model's own time is so short that
//! everything else shows.

use anyhow::Result;
use gemmad_testbed::{Bus, Daemon, Model};

use crate::{ask::ask, figure::Figure, setting::Bench};

const ROUNDS: usize = 100;

/// Rounds before the measurement, to fill caches.
const WARM_UP: usize = 5;

/// Measures `ask_overhead_ms`.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let setup = Daemon::setup(&bus).binaries(bench.binaries.clone());
    let daemon = setup.start().await?;
    let mut samples = Vec::new();
    for _ in 0..WARM_UP + ROUNDS {
        let answer = ask(&daemon, "turn on the kitchen light", 8).await?;
        let engine = answer.stats.first_token_ms - answer.stats.queue_ms;
        samples.push(answer.first.as_secs_f64() * 1000.0 - engine);
    }
    let samples = samples.split_off(WARM_UP);
    let figure = Figure::new("ask_overhead_ms", "ms", samples, &Model::nano())?;
    Ok(vec![figure.goal("≤ 5 ms").meaning(
        "From the client's request to its first piece of text, less the engine's time from its first \
         batch for the request to the first sampled token. What is left is the call and the pipe, the \
         template, tokenising, waiting for the engine, and the text of the token.",
    )])
}
