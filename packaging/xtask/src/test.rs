//! The checks that must pass before a change lands.

use std::time::Instant;

use anyhow::Result;
use xtask::{
    command::{cargo, execute, root, works},
    say, setup, shape,
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
    timed("Tests", || execute(&mut cargo(["test", "--workspace"])))?;
    timed("Sizes of Gemma", sizes)
}

/// Tries every size of Gemma in one quantisation; `cargo xtask nightly` tries all.
fn sizes() -> Result<()> {
    shape::sizes(&["q4_0"], &root().join("target/shape"))?;
    let test = |arguments: &[&str]| {
        let mut test = cargo(["test", "--quiet", "--workspace"]);
        execute(test.args(arguments))
    };
    test(&["--lib", "every_size", "--", "--ignored"])?;
    let not = "every_size_and_quantisation";
    test(&["--test=sizes", "--", "--ignored", "--skip", not])
}

fn timed(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    say::step(name);
    let begin = Instant::now();
    check()?;
    say::success(&format!("{name}: {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}
