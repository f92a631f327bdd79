//! Feeds hostile input to what reads text that others wrote (`daemon/fuzz`), guided by what code it reaches.

use std::process::Command;

use anyhow::Result;

use crate::{
    command::{execute, root},
    say, setup,
};

/// What is fed, each a file in `daemon/fuzz/fuzz_targets`, and the folder with inputs to begin with.
const TARGETS: [(&str, &str); 2] = [
    ("call", "daemon/fuzz/seeds"),
    ("catalogue", "configs/commands"),
];

/// Longest input, in bytes; the answers of a model and the files of a catalogue are shorter.
const LONGEST: u32 = 16_384;

/// Feeds each target for so many seconds. What makes one fail is kept in `daemon/fuzz/artifacts`.
pub fn run(seconds: u32) -> Result<()> {
    setup::run()?;
    let cargo_fuzz = setup::cargo_fuzz()?;
    for (target, seeds) in TARGETS {
        say::step(&format!(
            "Feeding `{target}` (building takes about 15 minutes the first time)"
        ));
        let found = root().join("target/fuzz/corpus").join(target);
        std::fs::create_dir_all(&found)?;
        // Without a sanitizer, which only a nightly toolchain has: the code that is fed has no `unsafe`.
        let fuzz = ["fuzz", "run", "--sanitizer", "none", "--target-dir"];
        let mut command = Command::new(&cargo_fuzz);
        command
            .current_dir(root().join("daemon"))
            .args(fuzz)
            .arg(root().join("target/fuzz"))
            .arg(target)
            .arg(found)
            .arg(root().join(seeds))
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
