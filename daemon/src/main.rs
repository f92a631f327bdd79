//! The order of start and stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use gemmad::assistant::Voice;
use gemmad::bus::{Bus, Rooms, Which};
use gemmad::commands::Commands;
use gemmad::config::Settings;
use gemmad::engine::Engine;
use gemmad::platform::environment::Environment;
use gemmad::platform::signals::{Asked, Signals};
use gemmad::platform::{descriptors, end, logging};
use gemmad::reload::Reloader;
use gemmad::service;
use tokio::runtime::Builder;

/// Understands speech and answers questions with Gemma 4, offline.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration file [default: /etc/gemmad/gemmad.toml; with --session,
    /// ~/.config/gemmad/gemmad.toml if there is one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve on the session bus instead of the system bus.
    #[arg(long)]
    session: bool,
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gemmad: {}", reasons(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, each once: most texts already repeat that of their cause.
fn reasons(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, reason| {
        let reason = reason.to_string();
        match told.as_str() {
            "" => reason,
            _ if told.contains(&reason) => told,
            _ => format!("{told}: {reason}"),
        }
    })
}

fn start(args: Args) -> anyhow::Result<()> {
    let signals = Signals::listen().context("cannot wait for signals")?;
    descriptors::raise_limit();
    // One thread: tasks run in the order in which they are begun, so requests arrive in the order of the bus, and a
    // halt is never overtaken. CPU-bound work has threads of its own.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot wait for events")?;
    let ended = runtime.block_on(run(args, signals));
    // Does not wait for threads that are blocked by a file or a device.
    runtime.shutdown_background();
    ended
}

async fn run(args: Args, mut signals: Signals) -> anyhow::Result<()> {
    let which = if args.session {
        Which::Session
    } else {
        Which::System
    };
    let settings = Settings::load(args.config.unwrap_or_else(|| usual_file(which)))?;
    let config = settings.current();
    logging::start(config.log.level.into())?;
    if config.log.content {
        log::warn!("prompts and transcripts are logged: [log] content is true");
    }

    let engine = Engine::start(&config).context("cannot start the engine thread")?;
    let environment = match which {
        Which::System => Environment::of_the_system(),
        Which::Session => Environment::of_the_session(),
    };
    let commands = Commands::start(settings.clone(), engine.clone(), environment.clone())?;
    let voice = Voice::start(
        settings.clone(),
        engine.clone(),
        commands.clone(),
        environment,
    )
    .context("cannot start the voice thread")?;
    let reloader = Reloader::new(
        settings.clone(),
        engine.clone(),
        voice.clone(),
        commands.clone(),
    );
    let rooms = Rooms {
        settings,
        engine: engine.clone(),
        voice: voice.clone(),
        commands: commands.clone(),
        reloader: reloader.clone(),
    };
    // As soon as a client can reach it, it owes each an answer.
    signals.end_in_order();
    let bus = Bus::serve(which, rooms).await?;
    service::follow(engine.clone()).context("cannot start the thread that reports")?;
    engine.load();

    let ended = loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break Ok(()),
                // A task of its own, because files may be slow. Its errors are in the log.
                Asked::Reload => drop(tokio::spawn(reloader.clone().reload())),
            },
            () = voice.ended() => {
                break Err(anyhow::anyhow!("the sound threads failed repeatedly; start gemmad again"));
            }
            () = engine.crashed() => {
                break Err(anyhow::anyhow!("the engine failed through a fault of gemmad; start gemmad again"));
            }
            () = bus.closed() => {
                break Err(anyhow::anyhow!("the bus closed the connection; start it and gemmad again"));
            }
        }
    };
    log::info!(event = "stopping"; "stopping");
    end::by_deadline();
    bus.take_nothing();
    voice.stop();
    // The halt comes first in the list, because the others may have to wait.
    tokio::join!(commands.stop(), service::stopping(), bus.announce_end());
    engine.stop().await;
    bus.answered().await;
    bus.close().await;
    ended
}

/// The path of the configuration without `--config`. A daemon on the session bus prefers the user's own, if it exists.
fn usual_file(which: Which) -> PathBuf {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(std::env::home_dir()?.join(".config")));
    let own = folder.map(|folder| folder.join("gemmad/gemmad.toml"));
    own.filter(|own| which == Which::Session && own.exists())
        .unwrap_or_else(|| "/etc/gemmad/gemmad.toml".into())
}
