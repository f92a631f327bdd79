//! `gemmad --probe`: loads a model, has it answer once and hear once, and ends.
//!
//! Each step is a line on standard output, by which [`Probe`](gemmad::engine::Probe) sees that it gets on.

use std::io::{self, Write};

use gemmad::config::Config;
use gemmad::engine::{Clip, Engine, EngineError, Phase, Preamble, Request, Sampling};
use gemmad::sound::SAMPLE_RATE;

/// Samples that the model hears: 1 s.
const SAMPLES: usize = SAMPLE_RATE as usize;

/// Runs the model that `config` names.
///
/// # Errors
/// That there is no thread to give, that the model cannot be loaded, or that it does not answer or hear.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let engine = Engine::start(config, None)?;
    engine.load();
    let hears = loaded(&engine).await?;
    let request = Request {
        preamble: Preamble::default(),
        sampling: Sampling::greedy(),
        max_tokens: 1,
        ..Request::question(&config.answer, "Hello.".into())
    };
    engine.submit(request.clone()).await?.text().await?;
    tell("answers");
    if hears {
        match engine.submit(request.about(tone()?)).await {
            Ok(answer) => drop(answer.text().await?),
            // Its template has no place for sound. It is told again when somebody speaks.
            Err(EngineError::Deaf(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tell("hears");
    }
    engine.stop().await;
    Ok(())
}

/// Waits until the model is loaded. Returns whether it hears.
async fn loaded(engine: &Engine) -> anyhow::Result<bool> {
    let mut phase = engine.phase();
    loop {
        match &*phase.borrow_and_update() {
            Phase::Starting | Phase::Unloading | Phase::Unloaded => {}
            Phase::Loading(percent) => tell(&format!("loading {percent} %")),
            Phase::Ready(ready) => return Ok(ready.hears()),
            Phase::Failed(why) => anyhow::bail!(why.clone()),
        }
        phase.changed().await?;
    }
}

/// A tone of 440 Hz.
fn tone() -> Result<std::sync::Arc<Clip>, EngineError> {
    // A second has few samples.
    #[allow(clippy::cast_precision_loss)]
    let phase = |sample: usize| sample as f32 * 440.0 * std::f32::consts::TAU / SAMPLE_RATE as f32;
    Clip::new((0..SAMPLES).map(|it| 0.1 * phase(it).sin()).collect())
}

/// Writes a line. Nobody may be reading it.
fn tell(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
