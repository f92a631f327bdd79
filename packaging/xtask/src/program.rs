//! Tasks that are programs of their own in this repository, because the crates they need take minutes to compile.

use std::{env, ffi::OsString};

use anyhow::Result;
use xtask::command::{cargo, exec};

/// Arguments that the program understands, not this one.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Arguments of the task; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the program of `package`. Its first arguments are `task`.
pub fn run(package: &str, task: &[&str], arguments: &Arguments) -> Result<()> {
    let mut run = cargo(["run", "--quiet", "--package", package, "--"]);
    run.args(task)
        .args(&arguments.arguments)
        // Paths among the arguments are relative to the user's folder.
        .current_dir(env::current_dir()?);
    exec(&mut run)
}
