//! The order of start and stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use gemmad::bus::{Bus, Which};
use gemmad::config::Config;
use gemmad::engine::Engine;
use gemmad::platform::{logging, signals};
use gemmad::voice::Voice;

/// Understands speech and answers questions with Gemma 4, offline.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/gemmad/gemmad.toml")]
    config: PathBuf,
    /// Serve on the session bus instead of the system bus.
    #[arg(long)]
    session: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gemmad: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop = signals::Stop::listen().context("cannot wait for signals")?;
    let config = Config::load(&args.config)?;
    logging::start(config.log.level)?;
    let which = if args.session {
        Which::Session
    } else {
        Which::System
    };

    let engine = Engine::start(&config).context("cannot start the engine thread")?;
    let voice = Voice::start(&config, engine.clone()).context("cannot start the voice thread")?;
    let bus = Bus::serve(which, &config, engine.clone(), voice.clone()).await?;
    engine.load();

    tokio::select! {
        () = stop.asked() => {}
        () = bus.closed() => anyhow::bail!("the bus closed the connection; start it and gemmad again"),
    }
    log::info!("stopping");
    bus.stopping().await;
    voice.stop();
    engine.stop().await;
    Ok(())
}
