//! `gemmactl`: a client of gemmad for the terminal, over D-Bus only.
//!
//! | file | owns |
//! |---|---|
//! | `args` (the library) | the command line |
//! | `ask` | a typed question and its streamed answer |
//! | `chat`, `conversations` | questions that follow from one another |
//! | `prompt` | the prompt of a question or a command |
//! | `question`, `input` | text and sound from the command line, files and standard input |
//! | `command` | commands in words; halting |
//! | `commands` | the catalogue of commands |
//! | `transcribe` | sound files |
//! | `listen`, `notice` | spoken turns, live |
//! | `voice` | mute, unmute, stop |
//! | `devices` | microphones and loudspeakers, and the microphone's level |
//! | `say` | text for the loudspeaker |
//! | `status`, `statistics` | the state of the daemon, and the statistics of an answer |
//! | `timers` | timers and alarms |
//! | `reload` | reading the configuration again |
//! | `keyword` | training of keywords |
//! | `bus`, `interrupt`, `terminal` | connecting to the bus, signals, standard output and error |
//! | `failure`, `report` | why a command failed, and the message and exit code for it |

mod ask;
mod bus;
mod chat;
mod command;
mod commands;
mod conversations;
mod devices;
mod failure;
mod input;
mod interrupt;
mod keyword;
mod listen;
mod models;
mod notice;
mod prompt;
mod question;
mod reload;
mod report;
mod say;
mod statistics;
mod status;
mod terminal;
mod timers;
mod transcribe;
mod voice;

use std::process::ExitCode;

use clap::Parser;
use gemmactl::args::{self, Arguments, Bus, Command, Keyword};

use crate::{bus::Way, failure::Failure, interrupt::until_interrupted};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(said) => return explained(&said),
    };
    let way = Way::new(arguments.bus());
    match run(arguments.command, &way) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&way),
    }
}

/// Shows help, the version, or the mistake in the command line.
fn explained(said: &clap::Error) -> ExitCode {
    match terminal::explain(said) {
        Ok(()) if said.use_stderr() => ExitCode::from(2),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&Way::new(Bus::Either)),
    }
}

fn run(command: Command, way: &Way) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}; try again")))?;
    let outcome = runtime.block_on(obey(command, way));
    // A blocked read of standard input, or a write without a reader, may never return.
    runtime.shutdown_background();
    outcome
}

async fn obey(command: Command, way: &Way) -> Result<(), Failure> {
    match command {
        Command::Ask(options) => until_interrupted(ask::run(options, way)).await,
        // Ctrl-C stops an answer, not the chat.
        Command::Chat(options) => chat::run(options, way).await,
        Command::Conversations { what } => until_interrupted(conversations::run(&what, way)).await,
        Command::Command(options) => command::run(&options, way).await,
        Command::Commands { what } => until_interrupted(commands::run(&what, way)).await,
        Command::Transcribe(options) => until_interrupted(transcribe::run(options, way)).await,
        Command::Listen(options) if options.once => listen::once(&options, way).await,
        Command::Listen(options) => until_interrupted(listen::live(&options, way)).await,
        Command::Mute => until_interrupted(voice::set_muted(true, way)).await,
        Command::Unmute => until_interrupted(voice::set_muted(false, way)).await,
        Command::Stop => until_interrupted(voice::stop(way)).await,
        Command::Halt => until_interrupted(command::halt(way)).await,
        Command::Say(options) => until_interrupted(say::run(options, way)).await,
        Command::Devices(options) => until_interrupted(devices::run(&options, way)).await,
        Command::Timers { what } => until_interrupted(timers::run(&what, way)).await,
        Command::Status(options) => until_interrupted(status::run(&options, way)).await,
        Command::Reload(options) => until_interrupted(reload::run(&options, way)).await,
        Command::Models { what } => until_interrupted(models::run(what, way)).await,
        Command::Keyword {
            what: Keyword::Train(options),
        } => until_interrupted(keyword::train(&options)).await,
    }
}
