//! Measures spoken turns on gemmad's engine alone: sound is pushed at the pace of speech, and the question
//! comes with the last sample. Prints one JSON object per run:
//!
//! ```json
//! {"text":"…","tokens":[…],"first_token_ms":310.0,"speaking_cpu":0.4,"idle_cpu":0.0,"stats":{…}}
//! ```
//!
//! `first_token_ms` is from the push of the last samples to the first token. `speaking_cpu` and
//! `idle_cpu` are processor time per wall-clock time, in cores, while the turn is spoken and in the
//! second after the answer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use gemmad::config::{self, Bounded, Config, Temperature};
use gemmad::engine::{Answer, Clip, Engine, Event, Kept, Message, Preamble, Request};
use gemmad::sound::SAMPLE_RATE;
use gemmad_api::Stats;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Samples per push: 32 ms, as much as a sound card delivers at a time.
const PUSH: usize = 512;

#[derive(Debug, Parser)]
struct Args {
    /// The text model.
    #[arg(long)]
    text: PathBuf,
    /// Its projector.
    #[arg(long)]
    mmproj: PathBuf,
    /// Sound files, one run for each.
    #[arg(long, required = true, num_args = 1..)]
    audio: Vec<PathBuf>,
    /// Seconds of each sound file to use, one run for each number; all of it by default.
    #[arg(long, num_args = 1..)]
    seconds: Vec<f64>,
    /// Maximum number of tokens to generate.
    #[arg(long, default_value_t = 4)]
    max_tokens: u32,
    /// Generate `max_tokens` tokens even past the end of the turn.
    #[arg(long)]
    ignore_end: bool,
    /// Threads of the engine.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Hold the encoder's matrices in 8 bits.
    #[arg(long)]
    q8: bool,
    /// Questions and answers before the turn, of some 40 tokens each, which are kept in the cache.
    #[arg(long, default_value_t = 0)]
    history: u32,
    /// How the sound is pushed.
    #[arg(long, value_enum, default_value_t)]
    pace: Pace,
}

/// How the sound is pushed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Pace {
    /// At the pace of speech; after the answer, an idle second is measured too.
    #[default]
    Speech,
    /// In pieces, without waiting between them.
    AtOnce,
    /// As a finished clip.
    Whole,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let config = config(&args)?;
    let engine = Engine::start(&config, None)?;
    engine.load();
    let sounds = sounds(&args)?;
    engine.loaded().await?;
    engine.keep(Kept::Answers, Some(&preamble(args.history)));
    // A first turn, not measured, reads what was said before, builds the encoder's graphs and reads the weights into memory.
    turn(&args, &config, &engine, &vec![0.0; 48_000], Pace::AtOnce).await?;
    for samples in sounds {
        let line = match args.pace {
            Pace::Whole => clip(&args, &config, &engine, samples).await?,
            pace => turn(&args, &config, &engine, &samples, pace).await?,
        };
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
    pace: Pace,
) -> anyhow::Result<serde_json::Value> {
    let turn = engine.listen(preamble(args.history)).await?;
    let (started, cpu) = (Instant::now(), cpu_time());
    for (nth, piece) in samples.chunks(PUSH).enumerate() {
        if pace == Pace::Speech {
            // A piece is complete when its last sample has been spoken.
            let there = Duration::from_secs((nth * PUSH + piece.len()) as u64) / SAMPLE_RATE;
            tokio::time::sleep_until((started + there).into()).await;
        }
        turn.push(piece.to_vec());
    }
    let end = Instant::now();
    let speaking_cpu = cpu_time()
        .saturating_sub(cpu)
        .div_duration_f64(end - started);
    let answer = turn
        .ask([request(args, config).heard(end)])
        .await?
        .remove(0);
    let Answered {
        text,
        tokens,
        stats,
    } = Answered::of(answer).await?;
    if pace == Pace::AtOnce {
        return Ok(json!({"text": text, "tokens": tokens, "stats": stats}));
    }
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

async fn clip(
    args: &Args,
    config: &Config,
    engine: &Engine,
    samples: Vec<f32>,
) -> anyhow::Result<serde_json::Value> {
    let request = request(args, config).about(Clip::new(samples)?);
    let Answered {
        text,
        tokens,
        stats,
    } = Answered::of(engine.submit(request).await?).await?;
    Ok(json!({"text": text, "tokens": tokens, "stats": stats}))
}

fn request(args: &Args, config: &Config) -> Request {
    Request {
        max_tokens: args.max_tokens,
        min_tokens: if args.ignore_end { args.max_tokens } else { 0 },
        ..Request::reply(&config.answer)
    }
}

/// The questions and answers before the turn, `exchanges` of each.
fn preamble(exchanges: u32) -> Preamble {
    let history = (0..exchanges).flat_map(|nth| {
        [
            Message::User(format!(
                "What did I say about part number {nth} of the garden, and when was that?"
            )),
            Message::assistant(format!(
                "You said that part {nth} gets the roses, the day before yesterday."
            )),
        ]
    });
    Preamble {
        history: history.collect(),
        ..Preamble::default()
    }
}

/// A complete answer.
struct Answered {
    text: String,
    tokens: Vec<i32>,
    stats: Stats,
}

impl Answered {
    async fn of(mut answer: Answer) -> anyhow::Result<Self> {
        let (mut text, mut tokens) = (String::new(), Vec::new());
        loop {
            match answer.next().await {
                Event::Text(piece) => {
                    text += &piece.text;
                    tokens.extend(piece.tokens);
                }
                Event::Done(stats) => {
                    return Ok(Self {
                        text,
                        tokens,
                        stats: stats.into(),
                    });
                }
                Event::Failed(error) => bail!("{error}"),
            }
        }
    }
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

/// The sounds of all runs, in order.
fn sounds(args: &Args) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut sounds = Vec::new();
    for path in &args.audio {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        let samples = gemmad::sound::decode(&file)?.samples;
        if args.seconds.is_empty() {
            sounds.push(samples);
            continue;
        }
        for seconds in &args.seconds {
            let time = Duration::try_from_secs_f64(*seconds)?;
            let length = time.as_micros() * u128::from(SAMPLE_RATE) / 1_000_000;
            sounds.push(samples[..usize::try_from(length)?.min(samples.len())].to_vec());
        }
    }
    Ok(sounds)
}

/// Processor time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
