//! The tasks of this repository, as `cargo xtask TASK`.
//!
//! Each works on a fresh machine with only git and a Rust toolchain: it installs what is missing, and
//! tells the user what it does. The tasks that need more than a moment's worth of crates are programs of their own,
//! in `packaging`.

mod demo;
mod fuzz;
mod nano;
mod nightly;
mod program;
mod test;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use xtask::{package, say, setup, shape};

/// Build, try, test and measure gemmad.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install missing packages for building and testing (Debian and Raspberry Pi OS).
    Setup,
    /// Speak a command to gemmad and ask it a question, with the shipped nano model.
    Demo {
        /// Use this machine's microphone instead of a virtual one, until Ctrl-C.
        #[arg(long)]
        mic: bool,
    },
    /// Check formatting and lints, and run every test.
    Test,
    /// Fuzz the readers of foreign input.
    Fuzz {
        #[command(flatten)]
        options: fuzz::Options,
    },
    /// Run the checks that take too long for `test`: 10,000 conversations for each chat template, every size and
    /// quantisation of Gemma, and 30 s of fuzzing for each reader of foreign input.
    Nightly,
    /// Make the Debian package.
    Package {
        #[command(flatten)]
        wanted: package::Wanted,
    },
    /// Install the package on a system booted for it, and test everything there; as root.
    #[command(disable_help_flag = true)]
    BootTest(program::Arguments),
    /// Write a model with the shape of Gemma 4 E2B and random weights, to measure speed.
    Shape {
        /// Write only a few megabytes with the same kinds of tensors, for tests.
        #[arg(long)]
        tiny: bool,
        /// Write every size of Gemma in every quantisation instead, a few megabytes each, for tests.
        #[arg(long, conflicts_with_all = ["tiny", "vocabulary"])]
        sizes: bool,
        /// The words of the model.
        #[arg(long, value_enum, default_value = "invented")]
        vocabulary: shape::Vocabulary,
        /// Folder for the files.
        #[arg(long, default_value = "target/shape")]
        out: PathBuf,
    },
    /// Train, export or evaluate the nano model.
    Nano {
        #[command(subcommand)]
        task: nano::Task,
    },
    /// Measure gemmad side by side with plain llama.cpp, and write docs/performance.md.
    #[command(disable_help_flag = true)]
    Bench(program::Arguments),
    /// Make the listening corpus: recordings of people, music and noise, from packages.
    #[command(disable_help_flag = true)]
    Corpus(program::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Demo { mic } => demo::run(mic),
        Task::Test => test::run(),
        Task::Fuzz { options } => fuzz::run(&options),
        Task::Nightly => nightly::run(),
        Task::Package { wanted } => package::run(&wanted).map(drop),
        Task::BootTest(arguments) => program::run("gemmad-boot-test", &[], &arguments),
        Task::Shape {
            sizes: true, out, ..
        } => shape::sizes(&[], &out),
        Task::Shape {
            tiny,
            vocabulary,
            out,
            ..
        } => shape::run(tiny, vocabulary, &out),
        Task::Nano { task } => nano::run(&task),
        Task::Bench(arguments) => program::run("gemmad-bench", &["bench"], &arguments),
        Task::Corpus(arguments) => program::run("corpus", &[], &arguments),
    };
    say::exit_code(&done)
}
