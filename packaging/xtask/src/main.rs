//! The tasks of this repository, as `cargo xtask TASK`.
//!
//! Each works on a fresh machine with nothing but git and a Rust toolchain: it installs what is
//! missing, and says what it is doing.

mod architecture;
mod bench;
mod boot_test;
mod command;
mod demo;
mod fuzz;
mod keyword;
mod nano;
mod nightly;
mod package;
mod python;
mod say;
mod setup;
mod shape;
mod test;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Build, try, test and measure gemmad.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what building and testing need and this machine lacks (Debian and Raspberry Pi OS).
    Setup,
    /// Speak a command to gemmad and ask it a question, with the embedded nano model.
    Demo {
        /// Use this machine's microphone instead of a virtual one, until Ctrl-C.
        #[arg(long)]
        mic: bool,
    },
    /// Check formatting and lints, and run every test.
    Test,
    /// Feed hostile input to the readers of foreign input.
    Fuzz {
        #[command(flatten)]
        options: fuzz::Options,
    },
    /// Run everything that takes too long for `test`: each reader of foreign input is fed for 30 s.
    Nightly,
    /// Make the Debian package.
    Package {
        #[command(flatten)]
        wanted: package::Wanted,
    },
    /// Install the package on a system that is booted for it, and try everything there; as root.
    BootTest {
        #[command(flatten)]
        options: boot_test::Options,
    },
    /// Write a model with the shape of Gemma 4 E2B and random weights, to measure speed with.
    Shape {
        /// A few megabytes with the same kinds of tensors, to test with.
        #[arg(long)]
        tiny: bool,
        /// Folder for the two files.
        #[arg(long, default_value = "target/shape")]
        out: PathBuf,
    },
    /// Train, export or examine the nano model.
    Nano {
        #[command(subcommand)]
        task: nano::Task,
    },
    /// Measure gemmad beside plain llama.cpp, and write docs/performance.md.
    Bench {
        /// Only this benchmark.
        name: Option<bench::Benchmark>,
        /// Keep the figures in this file, and leave docs/figures.json and docs/performance.md as they are.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        #[command(flatten)]
        run: nano::Run,
        #[command(flatten)]
        commands: bench::commands::Options,
        /// How long the assistant speaks to nobody in `monologue` (60), or is misused in `siege` (10).
        #[arg(long, value_name = "N")]
        minutes: Option<u64>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Demo { mic } => demo::run(mic),
        Task::Test => test::run(),
        Task::Fuzz { options } => fuzz::run(&options),
        Task::Nightly => nightly::run(),
        Task::Package { wanted } => package::run(&wanted).map(drop),
        Task::BootTest { options } => boot_test::run(&options),
        Task::Shape { tiny, out } => shape::run(tiny, &out),
        Task::Nano { task } => nano::run(task),
        Task::Bench {
            name,
            json,
            run,
            commands,
            minutes,
        } => bench::run(name, json.as_deref(), run.folder, &commands, minutes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}
