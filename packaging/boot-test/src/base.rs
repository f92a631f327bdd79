//! The system to boot: a small Debian, installed once, and copied for each test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use xtask::{
    architecture::Architecture,
    command::{execute, root},
    say,
};

/// A release of Debian, and its package of ALSA's library.
type Release = (&'static str, &'static str);

/// The newest release, on which Raspberry Pi OS is based.
const NEWEST: Release = ("trixie", "libasound2t64");

/// The release before it, for emulation. Under qemu the newest starts no service: its systemd needs `clone3`, which
/// qemu does not provide to the processes it runs.
const EMULATED: Release = ("bookworm", "libasound2");

/// Packages besides the smallest Debian: those that the package needs and every Raspberry Pi OS has, and
/// those for logging in.
const PACKAGES: [&str; 13] = [
    "adduser",
    "dbus",
    "dbus-user-session",
    // Recommended by the package; the booted system has no network to fetch it.
    "espeak-ng",
    "libpam-systemd",
    "libstdc++6",
    "openssh-client",
    "openssh-server",
    "pkexec",
    "polkitd",
    "sudo",
    "systemd",
    "systemd-sysv",
];

/// The folder with the base system, made anew unless it is complete and up to date.
pub fn prepare(arch: Architecture, is_emulated: bool) -> Result<PathBuf> {
    let (release, sound) = if is_emulated { EMULATED } else { NEWEST };
    let packages = format!("{},{sound}", PACKAGES.join(","));
    let folder = root().join("target/boot").join(arch.debian());
    let (base, recipe) = (folder.join("base"), folder.join("base.recipe"));
    let wanted = format!("{release} {packages}");
    if fs::read_to_string(&recipe).is_ok_and(|made| made == wanted) {
        return Ok(base);
    }
    say::step(
        "Making a Debian to boot (about 2 minutes, and some times that where it is emulated)",
    );
    fs::create_dir_all(&folder)?;
    remove(&base)?;
    let include = format!("--include={packages}");
    let arch = format!("--arch={}", arch.debian());
    let options = ["--variant=minbase", &arch, &include, release];
    execute(Command::new("debootstrap").args(options).arg(&base))?;
    // Written last, so that an interrupted installation is made again.
    fs::write(&recipe, wanted)?;
    Ok(base)
}

/// A copy of the base system, for one test.
pub fn copy(base: &Path) -> Result<PathBuf> {
    let copy = base.with_file_name("root");
    remove(&copy)?;
    let options = ["--archive", "--reflink=auto"];
    execute(Command::new("cp").args(options).args([base, &copy]))?;
    Ok(copy)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
