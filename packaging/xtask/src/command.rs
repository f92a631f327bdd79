//! Running cargo and other programs.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This crate is two folders below it.
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Cargo's folder; this program is `PROFILE/NAME` in it.
pub fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2);
    let target = target.context("this program is in no target folder")?;
    Ok(target.into())
}

/// `cargo` with `arguments`, at the root, with ccache, so that llama.cpp's C++ is compiled once and not
/// again for each profile and each clean build.
#[must_use]
pub fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(root())
        .env("CMAKE_C_COMPILER_LAUNCHER", "ccache")
        .env("CMAKE_CXX_COMPILER_LAUNCHER", "ccache")
        // Shares the cache with other clones of this repository.
        .env("CCACHE_NOHASHDIR", "1");
    command
}

/// Runs a program to its end, on this program's terminal.
pub fn execute(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    ensure!(status.success(), "`{line}` failed");
    Ok(())
}

/// Becomes another program, so that the user deals with that alone. Returns only if it cannot be run.
pub fn exec(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", line(command)))
}

/// Runs a program to its end; returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{line}`"))?;
    ensure!(output.status.success(), "`{line}` failed");
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote what is no text"))
}

/// Whether a program runs and succeeds; its output is dropped.
pub fn works(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as typed in a shell.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
