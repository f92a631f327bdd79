//! `gemmactl`: gemmad from a terminal, over D-Bus and nothing else.
//!
//! | file | owns |
//! |---|---|
//! | `args` (the library) | the command line |
//! | `ask`, `question` | a typed question and its streamed answer |
//! | `command` | something to be done, in words; stopping everything |
//! | `commands` | the catalogue of commands |
//! | `transcribe`, `sound` | sound files |
//! | `listen`, `notice` | what is said into the microphone, live |
//! | `voice` | mute, unmute, stop |
//! | `devices` | microphones and loudspeakers, and how loud it is |
//! | `say` | text for the loudspeaker |
//! | `status`, `statistics` | how the daemon is, and how an answer came about |
//! | `reload` | reading the configuration again |
//! | `bus`, `failure`, `interrupt`, `terminal` | the bus, errors and exit codes, signals, the screen |

mod ask;
mod bus;
mod command;
mod commands;
mod devices;
mod failure;
mod interrupt;
mod listen;
mod notice;
mod question;
mod reload;
mod say;
mod sound;
mod statistics;
mod status;
mod terminal;
mod transcribe;
mod voice;

use std::process::ExitCode;

use clap::Parser;
use gemmactl::args::{self, Arguments, Bus, Command};

use crate::{failure::Failure, interrupt::until_interrupted};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bus = arguments.bus();
    match run(arguments.command, bus) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(bus),
    }
}

fn run(command: Command, bus: Bus) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}; try again")))?;
    let outcome = runtime.block_on(obey(command, bus));
    // A read of standard input, or a write to somebody who does not read, may never end.
    runtime.shutdown_background();
    outcome
}

async fn obey(command: Command, bus: Bus) -> Result<(), Failure> {
    match command {
        Command::Ask(options) => until_interrupted(ask::run(options, bus)).await,
        Command::Command(options) => until_interrupted(command::run(&options, bus)).await,
        Command::Commands { what } => until_interrupted(commands::run(&what, bus)).await,
        Command::Transcribe(options) => until_interrupted(transcribe::run(options, bus)).await,
        Command::Listen(options) if options.once => listen::once(&options, bus).await,
        Command::Listen(options) => until_interrupted(listen::live(&options, bus)).await,
        Command::Mute => until_interrupted(voice::set_muted(true, bus)).await,
        Command::Unmute => until_interrupted(voice::set_muted(false, bus)).await,
        Command::Stop => until_interrupted(voice::stop(bus)).await,
        Command::Halt => until_interrupted(command::halt(bus)).await,
        Command::Say(options) => until_interrupted(say::run(options, bus)).await,
        Command::Devices(options) => until_interrupted(devices::run(&options, bus)).await,
        Command::Status(options) => until_interrupted(status::run(&options, bus)).await,
        Command::Reload(options) => until_interrupted(reload::run(&options, bus)).await,
    }
}
