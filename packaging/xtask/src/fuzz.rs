//! Fuzzes the readers of foreign input (`daemon/fuzz`), guided by code coverage.

use std::{env, ffi::OsString, path::Path};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use xtask::{
    command::{cargo, execute, root},
    say, setup,
};

/// Maximum time for one input, in seconds. The instrumented code runs at a tenth of the usual speed.
const PATIENCE: u32 = 30;

/// A reader of foreign input: `daemon/fuzz/fuzz_targets/NAME.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Calls of commands that a model writes.
    Call,
    /// Files of the catalogue of commands.
    Catalogue,
    /// The configuration file.
    Configuration,
    /// Headers of model files and projectors.
    Gguf,
    /// Dictionaries of options on the bus.
    Options,
    /// JSON Schemas for answers.
    Schema,
    /// Sound files.
    Sound,
    /// Text to be spoken.
    Speech,
    /// Output of synthesisers.
    Synthesiser,
    /// Chat templates of model files.
    Template,
}

/// Targets and duration.
#[derive(Debug, Args)]
pub struct Options {
    /// Readers to fuzz; all if none is named.
    #[arg(value_name = "TARGET")]
    targets: Vec<Target>,
    /// Seconds for each reader.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Processes that fuzz a reader in parallel.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u32,
}

/// Fuzzes each reader in turn; ends at the first input that makes one fail, and keeps it in `daemon/fuzz/artifacts`.
pub fn run(options: &Options) -> Result<()> {
    let targets = match options.targets.as_slice() {
        [] => Target::value_variants(),
        targets => targets,
    };
    for target in targets {
        say::step(&format!(
            "Feeding `{}` (building takes about 15 minutes the first time)",
            target.name()
        ));
        target.feed(options.seconds, options.jobs)?;
        say::success(&format!(
            "`{}` withstood {} s",
            target.name(),
            options.seconds
        ));
    }
    Ok(())
}

impl Target {
    /// Its name on the command line and of its file.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Folders with seeds, including their subfolders.
    fn seeds(self) -> &'static [&'static str] {
        match self {
            Self::Call => &["daemon/fuzz/seeds/call"],
            Self::Catalogue => &["configs/commands"],
            Self::Configuration => &["configs"],
            Self::Gguf => &["daemon/fuzz/seeds/gguf"],
            Self::Options => &["daemon/fuzz/seeds/options"],
            Self::Schema => &["daemon/fuzz/seeds/schema"],
            Self::Sound => &["daemon/fuzz/seeds/sound", "daemon/src/sound/testdata"],
            Self::Speech => &["daemon/fuzz/seeds/speech"],
            Self::Synthesiser => &["daemon/fuzz/seeds/sound"],
            Self::Template => &["daemon/fuzz/seeds/template", "daemon/tests/templates"],
        }
    }

    /// Maximum length of an input, in bytes: a few times that of the longest seed, so that counts and lengths in it can
    /// lie.
    fn longest(self) -> u32 {
        match self {
            Self::Options => 1 << 12,
            Self::Speech => 1 << 13,
            Self::Call | Self::Catalogue | Self::Configuration | Self::Schema => 1 << 14,
            Self::Gguf | Self::Sound | Self::Synthesiser | Self::Template => 1 << 15,
        }
    }

    /// Fuzzes it for `seconds`, with `jobs` processes.
    ///
    /// # Errors
    /// An input makes it fail, or takes too long or too much memory.
    pub fn feed(self, seconds: u32, jobs: u32) -> Result<()> {
        ensure!(jobs > 0, "--jobs must be 1 or more");
        setup::run()?;
        let cargo_fuzz = setup::cargo_fuzz()?;
        let found = root().join("target/fuzz/corpus").join(self.name());
        std::fs::create_dir_all(&found)?;
        // No sanitizer, since only a nightly toolchain has them: the fuzzed code has no `unsafe`, or is llama.cpp's,
        // which is not instrumented.
        let fuzz = ["fuzz", "run", "--sanitizer", "none", "--target-dir"];
        let mut command = cargo(fuzz);
        command
            .env("PATH", path_with(cargo_fuzz.parent())?)
            .current_dir(root().join("daemon"))
            .arg(root().join("target/fuzz"))
            .arg(self.name())
            .arg(found)
            .args(self.seeds().iter().map(|folder| root().join(folder)))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={}", self.longest()))
            .arg(format!("-timeout={PATIENCE}"))
            .args(["-print_final_stats=1", "-verbosity=0"]);
        if jobs > 1 {
            command.arg(format!("-fork={jobs}"));
        }
        execute(&mut command)
    }
}

/// `PATH` with `folder` first.
fn path_with(folder: Option<&Path>) -> Result<OsString> {
    let others = env::var_os("PATH").unwrap_or_default();
    let others = env::split_paths(&others);
    let folder = folder.into_iter().map(Path::to_owned);
    Ok(env::join_paths(folder.chain(others))?)
}
