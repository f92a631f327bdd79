//! Installs what this machine lacks.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{
    command::{cargo, execute, root, works},
    say,
};

/// One of Debian's packages, and what it is for.
type Package = (&'static str, &'static str);

/// What building and testing need.
const PACKAGES: [Package; 15] = [
    ("alsa-utils", "records in the tests"),
    ("ccache", "keeps llama.cpp from being compiled again"),
    ("clang", "reads llama.cpp's headers"),
    ("cmake", "builds llama.cpp"),
    ("dbus-daemon", "is the private bus of tests and demo"),
    ("espeak-ng", "speaks to the virtual microphone"),
    ("g++", "compiles llama.cpp"),
    ("libasound2-dev", "opens microphones"),
    (
        "libasound2-plugins",
        "opens microphones behind a sound server",
    ),
    ("libclang-dev", "reads llama.cpp's headers"),
    ("make", "builds llama.cpp"),
    ("pkg-config", "finds libraries"),
    ("pulseaudio", "is the sound server of the tests"),
    ("pulseaudio-utils", "plays to the sound server"),
    ("python3-venv", "writes models to measure with"),
];

/// What the speech of the nano model needs besides.
const VOICES: [Package; 4] = [
    (
        "festival",
        "speaks to the nano model, which never learnt it",
    ),
    ("festvox-kdlpc16k", "is a voice of festival"),
    ("festvox-us-slt-hts", "is a voice of festival"),
    ("flite", "speaks to the nano model as it learns"),
];

/// What making the package needs besides.
const PACKAGING: [Package; 1] = [("dpkg-dev", "finds the libraries a package needs")];

/// What booting a system needs besides.
const BOOTING: [Package; 4] = [
    ("debootstrap", "makes a system to boot"),
    ("lintian", "finds what is wrong with a package"),
    ("man-db", "finds what is wrong with a manual page"),
    ("systemd-container", "boots it"),
];

/// Installs what building and testing need. Silent and quick when nothing is missing.
pub fn run() -> Result<()> {
    install(&PACKAGES)
}

/// Installs the voices that the nano model is made and examined with.
pub fn voices() -> Result<()> {
    install(&VOICES)
}

/// Installs what making the package needs.
pub fn packaging() -> Result<()> {
    run()?;
    install(&PACKAGING)
}

/// Installs what booting a system needs.
pub fn booting() -> Result<()> {
    install(&BOOTING)
}

/// The program cargo-deb, built if it is not there.
pub fn cargo_deb() -> Result<PathBuf> {
    let folder = root().join("target/tools");
    let program = folder.join("bin/cargo-deb");
    if !program.is_file() {
        say::step("Building cargo-deb (about 3 minutes)");
        let install = ["install", "cargo-deb", "--locked", "--root"];
        execute(cargo(install).arg(&folder))?;
    }
    Ok(program)
}

fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|(package, _)| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say::step("Installing what this machine lacks, with apt-get");
    for (package, reason) in &missing {
        say::result(package, reason);
    }
    let names: Vec<_> = missing.iter().map(|(package, _)| *package).collect();
    ensure!(
        works(Command::new("apt-get").arg("--version")),
        "this system has no apt-get; install what corresponds to Debian's {}",
        names.join(", ")
    );
    execute(apt_get().arg("update"))?;
    let options = ["install", "--yes", "--no-install-recommends"];
    execute(apt_get().args(options).args(names))
}

/// Adds the formatter and the linter to the Rust toolchain when it lacks them.
pub fn rust_components() -> Result<()> {
    let has = |component| works(&mut cargo([component, "--version"]));
    if has("fmt") && has("clippy") {
        return Ok(());
    }
    say::step("Adding rustfmt and clippy to the Rust toolchain");
    execute(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]))
}

fn is_installed(package: &str) -> bool {
    let query = ["--show", "--showformat=${db:Status-Status}", package];
    Command::new("dpkg-query")
        .args(query)
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn apt_get() -> Command {
    let unattended = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        command.arg("env");
    }
    command.args(unattended);
    command
}
