//! Checks that take too long for every change: the slow part of `cargo xtask test`.

use std::path::Path;

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

/// Tests that take minutes or need files.
struct Slow {
    /// Where they are, as cargo is told.
    target: &'static str,
    /// How their names begin.
    names: &'static str,
    /// What they show.
    shows: &'static str,
    /// Writes the files that they need into the folder for shapes.
    files: fn(&Path) -> Result<()>,
}

const SLOW: [Slow; 6] = [
    Slow {
        target: "--lib",
        names: "ten_thousand_conversations",
        shows: "10,000 conversations are rendered by each chat template as transformers does",
        files: |_| Ok(()),
    },
    Slow {
        target: "--test=broken_files",
        names: "",
        shows: "no broken model file ends the daemon",
        files: |_| Ok(()),
    },
    Slow {
        target: "--test=engine",
        names: "vocabulary",
        shows: "grammars and typed text hold over Gemma's vocabulary",
        files: |folder| shape::run(true, shape::Vocabulary::Gemma, folder),
    },
    Slow {
        target: "--lib",
        names: "over_gemmas_vocabulary",
        shows: "over Gemma's vocabulary long texts have llama.cpp's tokens, and all tokens are foreseen",
        files: |folder| shape::run(true, shape::Vocabulary::Gemma, folder),
    },
    Slow {
        target: "--lib",
        names: "every_size",
        shows: "prefill stops early for every size of Gemma, and changes no bit",
        files: |folder| shape::sizes(&[], folder),
    },
    Slow {
        target: "--test=sizes",
        names: "",
        shows: "every size and quantisation of Gemma answers as llama.cpp does",
        files: |folder| shape::sizes(&[], folder),
    },
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
    let slow = SLOW.iter().map(|slow| Check {
        name: slow.shows.into(),
        run: Box::new(|| slow.run()),
    });
    slow.chain(feeding).collect()
}

impl Slow {
    /// Runs the tests, which are ignored otherwise.
    fn run(&self) -> Result<()> {
        setup::run()?;
        (self.files)(&root().join("target/shape"))?;
        let (target, names) = (self.target, self.names);
        // In one of them llama.cpp, as an example, judges answers.
        execute(&mut cargo(["build", "--workspace", "--examples"]))?;
        let run = ["test", "--workspace", target, names, "--", "--ignored"];
        execute(&mut cargo(run))
    }
}
