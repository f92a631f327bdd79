//! Writes what the package has about gemmactl's command line: `documentation FOLDER` writes its manual pages into
//! `FOLDER/man` and its completions for shells into `FOLDER/completions`.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use gemmactl::args::Arguments;

/// The shells for which Debian has a place for completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).context("name a folder")?;
    let folder = PathBuf::from(folder);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(Arguments::command(), man)?;
    fs::create_dir_all(&completions)?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Arguments::command(), "gemmactl", &completions)?;
    }
    Ok(())
}
