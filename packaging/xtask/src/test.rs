//! The checks that must pass before a change lands.

use std::time::Instant;

use anyhow::Result;
use xtask::{
    command::{cargo, execute, works},
    say, setup,
};

/// Runs every check, the quick ones first.
pub fn run() -> Result<()> {
    setup::run()?;
    setup::rust_components()?;
    let deny_warnings = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    let architecture = [
        "test",
        "--quiet",
        "--package",
        "xtask",
        "--test",
        "circles",
        "--test",
        "rooms",
    ];
    timed("Formatting", || {
        execute(&mut cargo(["fmt", "--all", "--check"]))
    })?;
    timed("Architecture", || execute(&mut cargo(architecture)))?;
    timed("Lints", || execute(&mut cargo(deny_warnings)))?;
    if works(&mut cargo(["deny", "--version"])) {
        timed("Licences and advisories", || {
            execute(&mut cargo(["deny", "check"]))
        })?;
    }
    // End-to-end tests run the real programs, and one test runs an example.
    let build = ["build", "--workspace", "--bins", "--examples"];
    timed("Programs", || execute(&mut cargo(build)))?;
    timed("Tests", || execute(&mut cargo(["test", "--workspace"])))
}

fn timed(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    say::step(name);
    let begin = Instant::now();
    check()?;
    say::success(&format!("{name}: {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}
