//! Checks that take too long for every change: the slow part of `cargo xtask test`.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use xtask::{
    command::{cargo, execute},
    say, setup,
};

use crate::fuzz::Target;

/// Time for which each reader of foreign input is fuzzed, in seconds.
const FED: u32 = 30;

/// Processes that fuzz a reader in parallel.
const FEEDING: u32 = 1;

/// Tests that take minutes, and what each shows.
const SLOW: [(&str, &str); 1] = [(
    "ten_thousand_conversations",
    "10,000 conversations are rendered by each chat template as transformers does",
)];

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
    let slow = SLOW.iter().map(|(test, name)| Check {
        name: (*name).into(),
        run: Box::new(|| run_ignored(test)),
    });
    slow.chain(feeding).collect()
}

/// Runs a test that is ignored otherwise.
fn run_ignored(test: &str) -> Result<()> {
    setup::run()?;
    let run = ["test", "--workspace", "--lib", test, "--", "--ignored"];
    execute(&mut cargo(run))
}
