//! Checks that take too long for every change: the slow part of `cargo xtask test`.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use xtask::{
    command::{cargo, execute, root},
    say, setup, shape,
};

use crate::fuzz::Target;

/// Time for which each reader of foreign input is fuzzed, in seconds.
const FED: u32 = 30;

/// Processes that fuzz a reader in parallel.
const FEEDING: u32 = 1;

/// Tests that take minutes or need files: where they are, how their names begin, and what they show.
const SLOW: [(&str, &str, &str); 4] = [
    (
        "--lib",
        "ten_thousand_conversations",
        "10,000 conversations are rendered by each chat template as transformers does",
    ),
    (
        "--test=broken_files",
        "",
        "no broken model file ends the daemon",
    ),
    (
        "--test=engine",
        "vocabulary",
        "grammars and typed text hold over Gemma's vocabulary",
    ),
    (
        "--lib",
        "over_gemmas_vocabulary",
        "over Gemma's vocabulary long texts have llama.cpp's tokens, and all tokens are foreseen",
    ),
];

/// One check.
struct Check {
    name: String,
    run: Box<dyn Fn() -> Result<()>>,
}

/// Runs every check to its end, and fails if one of them failed.
pub fn run() -> Result<()> {
    let checks = checks();
    let mut failed = Vec::new();
    for check in &checks {
        say::step(&check.name);
        match (check.run)() {
            Ok(()) => say::success(&check.name),
            Err(error) => {
                say::failure(&error);
                failed.push(check.name.as_str());
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "{} of {} checks failed: {}",
        failed.len(),
        checks.len(),
        failed.join("; ")
    );
    Ok(())
}

fn checks() -> Vec<Check> {
    let feeding = Target::value_variants().iter().map(|target| Check {
        name: format!("`{}` withstands {FED} s of hostile input", target.name()),
        run: Box::new(move || target.feed(FED, FEEDING)),
    });
    let slow = SLOW.iter().map(|(target, names, shows)| Check {
        name: (*shows).into(),
        run: Box::new(|| run_ignored(target, names)),
    });
    slow.chain(feeding).collect()
}

/// Runs tests that are ignored otherwise.
fn run_ignored(target: &str, names: &str) -> Result<()> {
    setup::run()?;
    let folder = root().join("target/shape");
    shape::run(true, shape::Vocabulary::Gemma, &folder)?;
    let run = ["test", "--workspace", target, names, "--", "--ignored"];
    execute(&mut cargo(run))
}
