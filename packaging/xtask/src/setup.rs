//! Installs packages and tools that this machine lacks.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{
    architecture::Architecture,
    command::{cargo, execute, output, root, works},
    say,
};

/// A package of Debian, and its purpose.
type Package = (&'static str, &'static str);

/// Packages for building and testing.
const PACKAGES: [Package; 18] = [
    ("alsa-utils", "records in the tests"),
    ("ccache", "keeps llama.cpp from being compiled again"),
    ("clang", "reads llama.cpp's headers"),
    ("cmake", "builds llama.cpp"),
    ("dbus-daemon", "is the private bus of tests and demo"),
    ("espeak-ng", "speaks to the virtual microphone"),
    ("g++", "compiles llama.cpp"),
    ("jq", "reads commands in an example"),
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
    ("python3-gi", "hears commands in an example"),
    (
        "python3-jinja2",
        "renders chat templates as transformers does",
    ),
    ("python3-venv", "writes models to measure with"),
];

/// Further packages for the speech of the nano model.
const VOICES: [Package; 4] = [
    (
        "festival",
        "speaks to the nano model, which never learnt it",
    ),
    ("festvox-kdlpc16k", "is a voice of festival"),
    ("festvox-us-slt-hts", "is a voice of festival"),
    ("flite", "speaks to the nano model as it learns"),
];

/// Further packages for reading sound files of all kinds.
const SOUND_FILES: [Package; 2] = [
    ("libsox-fmt-mp3", "reads MP3 files"),
    ("sox", "cuts recordings"),
];

/// Further packages for making the package.
const PACKAGING: [Package; 1] = [("dpkg-dev", "finds the libraries a package needs")];

/// Further packages for making the package for arm64 on another architecture.
const CROSSING: [Package; 3] = [
    ("g++-aarch64-linux-gnu", "compiles for arm64"),
    ("libasound2-dev:arm64", "opens microphones there"),
    ("libstdc++6:arm64", "is what llama.cpp needs there"),
];

/// Further packages for booting a system.
const BOOTING: [Package; 4] = [
    ("debootstrap", "makes a system to boot"),
    ("lintian", "finds what is wrong with a package"),
    ("man-db", "finds what is wrong with a manual page"),
    ("systemd-container", "boots it"),
];

/// Installs the packages for building and testing. Silent and quick if none is missing.
pub fn run() -> Result<()> {
    install(&PACKAGES)
}

/// Installs the voices for training and evaluating the nano model.
pub fn voices() -> Result<()> {
    install(&VOICES)
}

/// Installs the packages for reading sound files of all kinds.
pub fn sound_files() -> Result<()> {
    install(&SOUND_FILES)
}

/// Installs the packages for making the package.
pub fn packaging() -> Result<()> {
    run()?;
    install(&PACKAGING)
}

/// Installs the packages for making the package for another architecture.
pub fn crossing(arch: Architecture) -> Result<()> {
    ensure!(
        arch == Architecture::Arm64,
        "packages for {} can be made there only",
        arch.debian()
    );
    let known = output(Command::new("dpkg").arg("--print-foreign-architectures"))?;
    if !known.lines().any(|line| line == arch.debian()) {
        say::step("Letting dpkg install libraries for arm64 beside this machine's own");
        execute(as_root("dpkg").args(["--add-architecture", arch.debian()]))?;
    }
    install(&CROSSING)?;
    let library = ["--print", "target-libdir", "--target", arch.rust()];
    let library = output(Command::new("rustc").args(library))?;
    if !Path::new(library.trim()).exists() {
        say::step("Adding arm64 to the Rust toolchain");
        execute(Command::new("rustup").args(["target", "add", arch.rust()]))?;
    }
    Ok(())
}

/// Installs the packages for booting a system.
pub fn booting() -> Result<()> {
    install(&BOOTING)
}

/// Installs the packages for running programs for arm64 on another architecture.
pub fn emulating() -> Result<()> {
    install(&[("qemu-user-static", "runs programs for arm64")])
}

/// Path of the program cargo-deb, which is built if it is missing.
pub fn cargo_deb() -> Result<PathBuf> {
    tool("cargo-deb")
}

/// Path of the program cargo-fuzz, which is built if it is missing.
pub fn cargo_fuzz() -> Result<PathBuf> {
    tool("cargo-fuzz")
}

fn tool(name: &str) -> Result<PathBuf> {
    let folder = root().join("target/tools");
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        say::step(&format!("Building {name} (up to 3 minutes)"));
        let install = ["install", name, "--locked", "--root"];
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

/// Adds the formatter and the linter to the Rust toolchain if it lacks them.
pub fn rust_components() -> Result<()> {
    let has = |component| works(&mut cargo([component, "--version"]));
    if has("fmt") && has("clippy") {
        return Ok(());
    }
    say::step("Adding rustfmt and clippy to the Rust toolchain");
    execute(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]))
}

/// Whether a package is installed, for the architecture after the colon in its name or else for this machine's.
fn is_installed(package: &str) -> bool {
    let here = Architecture::here().map_or("", Architecture::debian);
    let arch = package.split_once(':').map_or(here, |(_, arch)| arch);
    let query = "--showformat=${Architecture} ${db:Status-Status}\n";
    let query = ["--show", query, package];
    let output = Command::new("dpkg-query").args(query).output();
    let lines = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let wanted = [format!("{arch} installed"), "all installed".into()];
    let lines = lines.unwrap_or_default();
    lines
        .lines()
        .any(|line| wanted.iter().any(|wanted| line == wanted))
}

fn apt_get() -> Command {
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    command
}

/// A program that changes the system.
fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}
