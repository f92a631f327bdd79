//! Measures double-talk detection and the barge-in guess in simulated rooms: an assistant speaks, its echo is cancelled
//! by the daemon's canceller, and a person interrupts it, or nobody does. It runs faster than real time, because no
//! clock is involved, and gives the same results in every run.
//!
//! ```sh
//! cargo run --release --example double_talk          # a table by level of the person, echo and loudspeaker
//! cargo run --release --example double_talk sweep    # each threshold varied, the others as shipped; other rooms
//! ```
//!
//! Devices with clocks of their own, sound that gets lost, people who move and the pause after a guess are not
//! simulated.

mod cast;
mod room;
mod scene;
mod table;
mod trial;
mod variants;

use clap::{Parser, ValueEnum};
use gemmad::listen::simulation::Thresholds;

use cast::Set;
use scene::{Stage, Voices};
use table::Report;
use trial::{Amount, Ear};

/// Samples per second.
const RATE: u16 = 16_000;

#[derive(Debug, Parser)]
struct Args {
    /// What to print.
    #[arg(value_enum, default_value = "report")]
    mode: Mode,
    /// The rooms and voices; by default those for choosing in a sweep, and those for reporting in a report.
    #[arg(long)]
    set: Option<Set>,
    /// Interruptions for each of the 54 conditions.
    #[arg(long, default_value_t = 20)]
    interruptions: u64,
    /// Minutes of the assistant's voice alone.
    #[arg(long, default_value_t = 72)]
    minutes: u64,
    /// Of a sweep only this threshold, such as `decay`.
    #[arg(long, default_value = "")]
    only: String,
    /// Prints what was guessed in each scene, a line of JSON for each, instead of the table of a report.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// The shipped thresholds.
    Report,
    /// Each threshold varied.
    Sweep,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let usual = match args.mode {
        Mode::Report => Set::Reporting,
        Mode::Sweep => Set::Choosing,
    };
    let cast = args.set.unwrap_or(usual).cast();
    let voices = Voices::of(cast)?;
    let stage = Stage { cast, voices };
    let amount = Amount {
        interruptions: args.interruptions,
        minutes: args.minutes,
    };
    match args.mode {
        Mode::Report => report(&stage, amount, args.json)?,
        Mode::Sweep => sweep(&stage, amount, &args.only),
    }
    Ok(())
}

fn report(stage: &Stage, amount: Amount, json: bool) -> anyhow::Result<()> {
    let listeners = [Ear::Detector, Ear::Guess].map(|ear| (ear, Thresholds::default()));
    let outcomes = trial::run(stage, amount, &listeners);
    let (detector, guess) = (&outcomes[0], &outcomes[1]);
    if json {
        for outcome in guess {
            println!("{}", serde_json::to_string(outcome)?);
        }
    } else {
        Report { detector, guess }.print();
    }
    Ok(())
}

fn sweep(stage: &Stage, amount: Amount, only: &str) {
    let variants = variants::all().into_iter();
    let chosen = variants.filter(|(label, _)| label.starts_with(only));
    let (labels, thresholds): (Vec<_>, Vec<_>) = chosen.unzip();
    let listeners: Vec<_> = thresholds.into_iter().map(|it| (Ear::Guess, it)).collect();
    let outcomes = trial::run(stage, amount, &listeners);
    table::print_head();
    for (label, outcomes) in labels.iter().zip(outcomes) {
        table::print_variant(label, &outcomes);
    }
}
