//! One spoken turn on gemmad's engine alone, to measure: sound is pushed at the pace of speech, and the
//! question comes with the last sample. Prints one JSON object for each run:
//!
//! ```json
//! {"text":"…","tokens":[…],"first_token_ms":310.0,"speaking_cpu":0.4,"idle_cpu":0.0,"stats":{…}}
//! ```
//!
//! `first_token_ms` is from the push of the last samples to the first token. `speaking_cpu` and
//! `idle_cpu` are processor time by time, in cores, while the turn was spoken and in the second after
//! the answer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use gemmad::config::{self, Bounded, Config, Temperature};
use gemmad::engine::{Engine, Event, Request, SAMPLE_RATE};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Samples in a push: 32 ms, what a sound card delivers at once.
const PUSH: usize = 512;

#[derive(Debug, Parser)]
struct Args {
    /// The text model.
    #[arg(long)]
    text: PathBuf,
    /// Its projector.
    #[arg(long)]
    mmproj: PathBuf,
    /// A WAV file, 16 kHz mono, 16 bits.
    #[arg(long)]
    audio: PathBuf,
    /// Only so many seconds of it; a run for each.
    #[arg(long)]
    seconds: Vec<f64>,
    /// Most tokens to generate.
    #[arg(long, default_value_t = 4)]
    max_tokens: u32,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Hold the encoder's matrices in 8 bits.
    #[arg(long)]
    q8: bool,
    /// Push everything at once instead of at the pace of speech.
    #[arg(long)]
    at_once: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let samples = gemmad::voice::decode(std::fs::File::open(&args.audio)?)?;
    let config = config(&args)?;
    let engine = Engine::start(&config)?;
    engine.load();
    // The first turn makes the encoder's graphs and reads the weights into memory.
    turn(
        &args,
        &config,
        &engine,
        &samples[..samples.len().min(48_000)],
        true,
    )
    .await?;
    let lengths = if args.seconds.is_empty() {
        vec![samples.len()]
    } else {
        let lengths = args.seconds.iter().map(|seconds| samples_in(*seconds));
        lengths.collect::<Result<_, _>>()?
    };
    for length in lengths {
        let samples = &samples[..length.min(samples.len())];
        let line = turn(&args, &config, &engine, samples, args.at_once).await?;
        println!("{line}");
    }
    engine.stop().await;
    Ok(())
}

async fn turn(
    args: &Args,
    config: &Config,
    engine: &Engine,
    samples: &[f32],
    at_once: bool,
) -> anyhow::Result<serde_json::Value> {
    let turn = engine.listen("").await?;
    let (started, cpu) = (Instant::now(), cpu_time());
    for (nth, piece) in samples.chunks(PUSH).enumerate() {
        if !at_once {
            // A piece is there when its last sample is.
            let there = Duration::from_secs((nth * PUSH + piece.len()) as u64) / SAMPLE_RATE;
            tokio::time::sleep_until((started + there).into()).await;
        }
        turn.push(piece.to_vec());
    }
    let end = Instant::now();
    let speaking_cpu = cpu_time()
        .saturating_sub(cpu)
        .div_duration_f64(end - started);
    let request = Request {
        max_tokens: args.max_tokens,
        min_tokens: args.max_tokens,
        ..Request::reply(&config.answer).heard(end)
    };
    let mut answer = turn.ask(&[request])?.remove(0);
    let (mut text, mut tokens) = (String::new(), Vec::new());
    let stats = loop {
        match answer.next().await {
            Event::Text(piece) => {
                text += &piece.text;
                tokens.extend(piece.tokens);
            }
            Event::Done(stats) => break stats,
            Event::Failed(error) => bail!("{error}"),
        }
    };
    let (answered, cpu) = (Instant::now(), cpu_time());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_cpu = cpu_time()
        .saturating_sub(cpu)
        .div_duration_f64(answered.elapsed());
    Ok(json!({
        "text": text,
        "tokens": tokens,
        "first_token_ms": stats.first_token_ms,
        "speaking_cpu": speaking_cpu,
        "idle_cpu": idle_cpu,
        "stats": stats,
    }))
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let mut config = Config::default();
    config.model.text.clone_from(&args.text);
    config.model.mmproj.clone_from(&args.mmproj);
    if args.q8 {
        config.model.encoder_weights = config::EncoderWeights::Q8;
    }
    config.engine.threads = Bounded::new(args.threads).context("threads: 0 to 256")?;
    config.answer.temperature = Temperature::GREEDY;
    Ok(config)
}

fn samples_in(seconds: f64) -> anyhow::Result<usize> {
    let time = Duration::try_from_secs_f64(seconds)?;
    Ok(usize::try_from(
        time.as_micros() * u128::from(SAMPLE_RATE) / 1_000_000,
    )?)
}

/// Processor time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
