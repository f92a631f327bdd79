//! Checks that take too long for every change: the slow part of `cargo xtask test`.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use xtask::{
    command::{cargo, execute, root},
    say, shape,
};

use crate::fuzz::Target;

/// Time for which each reader of foreign input is fuzzed, in seconds.
const FED: u32 = 30;

/// Processes that fuzz a reader in parallel.
const FEEDING: u32 = 1;

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
    let broken = Check {
        name: "no broken model file ends the daemon".into(),
        run: Box::new(|| ignored("broken_files", "")),
    };
    let vocabulary = Check {
        name: "grammars and typed text hold over Gemma's vocabulary".into(),
        run: Box::new(|| {
            let folder = root().join("target/shape");
            shape::run(true, shape::Vocabulary::Gemma, &folder)?;
            ignored("engine", "vocabulary")
        }),
    };
    feeding.chain([broken, vocabulary]).collect()
}

/// Runs the tests of a file of tests that are ignored elsewhere, because they take minutes or need files; of these, those
/// whose names begin with `which`.
fn ignored(tests: &str, which: &str) -> Result<()> {
    execute(&mut cargo([
        "test",
        "--workspace",
        "--test",
        tests,
        "--",
        "--ignored",
        which,
    ]))
}
