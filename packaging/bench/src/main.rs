//! Measures gemmad, side by side with plain llama.cpp if both can do the same, and the nano model.
//!
//! Every benchmark yields named figures. They go into `docs/figures.json`, where a later run replaces those that it
//! measures again, and from there into `docs/performance.md`.

mod ask;
mod benchmark;
mod commands;
mod conversation;
mod double_talk;
mod endpoint;
mod figure;
mod keyword;
mod late;
mod long;
mod measurement;
mod memory;
mod nano;
mod overhead;
mod people;
mod quiet;
mod setting;
mod siege;
mod speed;
mod turn;
mod vocabulary;
mod voice;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::say;

/// The tasks of `cargo xtask` that this program does, by their names there.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure gemmad side by side with plain llama.cpp, and write docs/performance.md.
    Bench(measurement::Wanted),
    /// Evaluate the nano model.
    Nano {
        #[command(subcommand)]
        task: Nano,
    },
}

#[derive(Debug, Subcommand)]
enum Nano {
    /// Ask gemmad the held-out sets, with the GGUF files of the run.
    Evaluate(nano::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Bench(wanted) => measurement::run(&wanted),
        Task::Nano {
            task: Nano::Evaluate(options),
        } => nano::evaluate(&options),
    };
    say::exit_code(&done)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_arguments_have_the_same_name() {
        Arguments::command().debug_assert();
    }
}
