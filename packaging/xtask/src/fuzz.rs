//! Feeds hostile input to what reads text that others wrote (`daemon/fuzz`), guided by what code it reaches.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{
    command::{cargo, execute, root},
    say, setup,
};

/// What is fed: each is a file in `daemon/fuzz/fuzz_targets`, and finds inputs to begin with in `daemon/fuzz/seeds`.
const TARGETS: [&str; 2] = ["call", "catalogue"];

/// Longest input, in bytes; the answers of a model and the files of a catalogue are shorter.
const LONGEST: u32 = 16_384;

/// Feeds each target for so many seconds. What makes one fail is kept in `daemon/fuzz/artifacts`.
pub fn run(seconds: u32) -> Result<()> {
    setup::run()?;
    let program = setup::cargo_fuzz()?;
    let tools = program.parent().context("cargo-fuzz is in no folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::env::split_paths(&path).chain([tools.to_owned()]))?;
    for target in TARGETS {
        say::step(&format!(
            "Feeding `{target}` (building takes about 15 minutes the first time)"
        ));
        let found = root().join("target/fuzz/corpus").join(target);
        std::fs::create_dir_all(&found)?;
        // Without a sanitizer, which only a nightly toolchain has: the code that is fed has no `unsafe`.
        let fuzz = ["fuzz", "run", "--sanitizer", "none", "--target-dir"];
        let mut command = cargo(fuzz);
        command
            .current_dir(root().join("daemon"))
            .env("PATH", &path)
            .arg(root().join("target/fuzz"))
            .arg(target)
            .arg(found)
            .arg(Path::new("fuzz/seeds").join(target))
            .args([
                "--",
                &format!("-max_total_time={seconds}"),
                &format!("-max_len={LONGEST}"),
            ])
            .args(["-print_final_stats=1", "-verbosity=0"]);
        execute(&mut command)?;
        say::success(&format!("`{target}` withstood {seconds} s"));
    }
    Ok(())
}
