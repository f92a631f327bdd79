//! The order of start and stop.

mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use gemmad::assistant::{self, Conversations, Shelf, Talk, Voice};
use gemmad::bus::{Bus, Rooms, Which};
use gemmad::commands::Commands;
use gemmad::commands::timers::Timers;
use gemmad::config::{Config, Settings};
use gemmad::engine::{Engine, Pace, Probe};
use gemmad::platform::environment::Environment;
use gemmad::platform::memory::Kernel;
use gemmad::platform::signals::{Asked, Signals};
use gemmad::platform::{descriptors, end, expendable, logging};
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
    /// Load this text model, have it answer and hear once, and end: with 0 if all went well. gemmad itself does that
    /// with files that are new to it, because damaged ones may crash llama.cpp.
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// The projector of the model that --probe names.
    #[arg(long, value_name = "FILE", requires = "probe")]
    mmproj: Option<PathBuf>,
}

impl Args {
    fn bus(&self) -> Which {
        if self.session {
            Which::Session
        } else {
            Which::System
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.probe {
        Some(_) => probe(args),
        None => start(args),
    };
    match ended {
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

/// Runs the model that `args` names once.
fn probe(args: Args) -> anyhow::Result<()> {
    expendable::declare();
    let which = args.bus();
    let file = args.config.unwrap_or_else(|| usual_file(which));
    let mut config = Config::load(&file)?;
    config.model.text = args.probe.unwrap_or_default();
    config.model.mmproj = args.mmproj.unwrap_or_default();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(trial::run(&config))
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
    let which = args.bus();
    let file = args.config.unwrap_or_else(|| usual_file(which));
    let settings = Settings::load(file.clone())?;
    let config = settings.current();
    logging::start(config.log.level.into())?;
    if config.log.content {
        log::warn!("prompts and transcripts are logged: [log] content is true");
    }

    let probe = Probe::new(file, cache(which).as_deref());
    let engine = Engine::start(&config, Some(probe)).context("cannot start the engine thread")?;
    let environment = match which {
        Which::System => Environment::of_the_system(),
        Which::Session => Environment::of_the_session(),
    };
    let timers = Timers::new(state(which).map(|it| it.join("timers.json")));
    let talk = Talk::new(settings.clone());
    let commands = Commands::start(
        settings.clone(),
        engine.clone(),
        environment.clone(),
        timers.clone(),
        Arc::new(talk.clone()),
    )?;
    let voice = Voice::start(
        settings.clone(),
        engine.clone(),
        commands.clone(),
        &timers,
        talk,
        environment,
    )
    .context("cannot start the voice thread")?;
    let conversations = conversations(state(which), config.conversation.keep)?;
    tokio::spawn(conversations.clone().expire(settings.clone()));
    let reloader = Reloader::new(
        settings.clone(),
        engine.clone(),
        voice.clone(),
        commands.clone(),
        conversations.clone(),
    );
    let rooms = Rooms {
        settings,
        conversations: conversations.clone(),
        timers: timers.clone(),
        engine: engine.clone(),
        voice: voice.clone(),
        commands: commands.clone(),
        reloader: reloader.clone(),
    };
    // As soon as a client can reach it, it owes each an answer.
    signals.end_in_order();
    let bus = Bus::serve(which, rooms).await?;
    // Once there are listeners.
    let mut ringing = tokio::spawn(timers.ring());
    service::follow(engine.clone()).context("cannot start the thread that reports")?;
    engine.load();
    tokio::spawn(
        engine
            .clone()
            .watch_memory(Kernel::default(), Pace::default()),
    );

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
            ended = &mut ringing => {
                let why = ended.map_or_else(|fault| fault.to_string(), |error| error.to_string());
                break Err(anyhow::anyhow!("timers cannot ring: {why}; start gemmad again"));
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
    conversations.stop().await;
    bus.close().await;
    ended
}

/// The typed conversations: those that were kept, unless they are not to be kept any more.
fn conversations(state: Option<PathBuf>, keeps: bool) -> anyhow::Result<Conversations> {
    let Some(folder) = state.map(|it| it.join("conversations")) else {
        return Ok(Conversations::start(Shelf::none()));
    };
    if !keeps {
        assistant::clear(&folder);
    }
    let shelf = Shelf::in_folder(folder).context("cannot start the thread that writes")?;
    Ok(Conversations::start(shelf))
}

/// The folder for what is to outlast a restart.
fn state(which: Which) -> Option<PathBuf> {
    match which {
        // From the service manager, a list.
        Which::System => std::env::split_paths(&std::env::var_os("STATE_DIRECTORY")?).next(),
        Which::Session => Some(user_folder("XDG_STATE_HOME", ".local/state")?.join("gemmad")),
    }
}

/// The folder for what may be deleted at any time.
fn cache(which: Which) -> Option<PathBuf> {
    match which {
        // From the service manager, a list.
        Which::System => std::env::split_paths(&std::env::var_os("CACHE_DIRECTORY")?).next(),
        Which::Session => Some(user_folder("XDG_CACHE_HOME", ".cache")?.join("gemmad")),
    }
}

/// The path of the configuration without `--config`. A daemon on the session bus prefers the user's own, if it exists.
fn usual_file(which: Which) -> PathBuf {
    let folder = user_folder("XDG_CONFIG_HOME", ".config");
    let own = folder.map(|folder| folder.join("gemmad/gemmad.toml"));
    own.filter(|own| which == Which::Session && own.exists())
        .unwrap_or_else(|| "/etc/gemmad/gemmad.toml".into())
}

/// A user's own folder: that of the variable `name`, or else `usual` in the user's home. A relative path is ignored, as the
/// XDG Base Directory Specification says.
fn user_folder(name: &str, usual: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(name).map(PathBuf::from);
    let folder = folder.filter(|folder| folder.is_absolute());
    folder.or_else(|| Some(std::env::home_dir()?.join(usual)))
}
