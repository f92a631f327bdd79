//! Shows a spoken command from speech to reply, then a typed one: `cargo xtask demo`.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use futures_util::StreamExt;
use gemmad_api::{Dict, Stats, from_dict};
use gemmad_testbed::{Bus, Daemon, Microphone, speech};
use tokio::time::timeout;
use xtask::say;

/// The speech for the virtual microphone, and the typed command. The nano model understands both.
const SPOKEN: &str = "turn on the kitchen light";
const TYPED: &str = "what time is it";

/// The shipped commands.
const COMMANDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/commands");

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
struct Arguments {
    /// Use this machine's microphone instead of a virtual one, until Ctrl-C.
    #[arg(long)]
    mic: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { mic } = Arguments::parse();
    let shown = async { if mic { listen().await } else { show().await } };
    let shown = tokio::select! {
        shown = shown => shown,
        // Returning drops, and so ends, everything that was started.
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if shown.is_ok() {
        say::success("Nothing is left running");
    }
    say::exit_code(&shown)
}

async fn show() -> Result<()> {
    say::step("Starting a private bus, a virtual microphone and gemmad with the nano model");
    let bus = Bus::start().await?;
    let microphone = Microphone::alsa()?;
    let begin = Instant::now();
    let setup = Daemon::setup(&bus).microphone(&microphone);
    let mut daemon = setup.commands(Path::new(COMMANDS)).start().await?;
    ready(&mut daemon, begin).await?;

    say::step(&format!("Saying “{SPOKEN}” into the microphone"));
    let words = speech::say(SPOKEN, "en-us")?;
    let turn = async {
        let mut turns = Turns::of(&daemon).await?;
        microphone.play(&words).await?;
        turns.next().await
    };
    let turn = timeout(PATIENCE, turn).await;
    turn.context("nothing was heard or answered")??.show()?;

    say::step(&format!("$ gemmactl ask --commands \"{TYPED}\""));
    let mut gemmactl = tokio::process::Command::from(daemon.gemmactl()?);
    let asked = gemmactl
        .args(["ask", "--commands", TYPED])
        .kill_on_drop(true)
        .status();
    let status = timeout(PATIENCE, asked)
        .await
        .context("gemmactl did not answer")??;
    ensure!(status.success(), "gemmactl failed");
    daemon.stop().await?;
    Ok(())
}

async fn listen() -> Result<()> {
    say::step(
        "Starting a private bus and gemmad with the nano model and this machine's microphone",
    );
    let bus = Bus::start().await?;
    let begin = Instant::now();
    let setup = Daemon::setup(&bus).real_microphone();
    let mut daemon = setup.commands(Path::new(COMMANDS)).start().await?;
    ready(&mut daemon, begin).await?;
    say::step(&format!("Say something such as “{SPOKEN}”; Ctrl-C ends"));
    let mut turns = Turns::of(&daemon).await?;
    loop {
        turns.next().await?.show()?;
    }
}

async fn ready(daemon: &mut Daemon, begin: Instant) -> Result<()> {
    daemon.until_it_listens().await?;
    let model = daemon.manager().model().await?;
    say::result(
        "ready",
        &format!("after {} ms", begin.elapsed().as_millis()),
    );
    say::result("model", &model);
    say::result("microphone", &daemon.voice().device().await?);
    Ok(())
}

/// Spoken turns, from the daemon's signals.
struct Turns {
    transcripts: gemmad_api::TranscriptStream,
    replies: gemmad_api::ReplyStream,
    failures: gemmad_api::FailedStream,
}

/// One spoken turn.
struct Turn {
    transcript: String,
    reply: String,
    stats: Dict,
}

impl Turns {
    async fn of(daemon: &Daemon) -> Result<Self> {
        let voice = daemon.voice();
        Ok(Self {
            transcripts: voice.receive_transcript().await?,
            replies: voice.receive_reply().await?,
            failures: voice.receive_failed().await?,
        })
    }

    /// The next turn that has both its transcript and its reply.
    async fn next(&mut self) -> Result<Turn> {
        let (mut transcript, mut reply) = (None, None);
        loop {
            tokio::select! {
                Some(signal) = self.transcripts.next() => transcript = Some(signal.args()?.text),
                Some(signal) = self.replies.next() => {
                    let args = signal.args()?;
                    reply = Some((args.text, args.stats));
                }
                Some(signal) = self.failures.next() => {
                    let args = signal.args()?;
                    bail!("{}: {}", args.error, args.message);
                }
                else => bail!("the bus has gone"),
            }
            if let (Some(transcript), Some((reply, stats))) = (&transcript, &reply) {
                return Ok(Turn {
                    transcript: transcript.clone(),
                    reply: reply.clone(),
                    stats: stats.clone(),
                });
            }
        }
    }
}

impl Turn {
    fn show(&self) -> Result<()> {
        let stats: Stats = from_dict(&self.stats)?;
        say::result("heard", &self.transcript);
        say::result("answered", &self.reply);
        if let Some(latency) = stats.speech_to_token_ms {
            say::result(
                "latency",
                &format!("{latency:.0} ms from the last sample of speech to the first token"),
            );
        }
        say::result(
            "of which",
            &format!(
                "encoding {:.0} ms, prefill {:.0} ms ({} rows, {} of them sound)",
                stats.encode_ms, stats.prefill_ms, stats.prompt_tokens, stats.audio_tokens
            ),
        );
        Ok(())
    }
}
