//! The system to boot: a small Debian, made once, and copied for each test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    architecture::Architecture,
    command::{execute, root},
    say,
};

/// A release of Debian, and what it calls ALSA's library.
type Release = (&'static str, &'static str);

/// What Raspberry Pi OS is made of.
const NEWEST: Release = ("trixie", "libasound2t64");

/// The one before. The newest starts nothing where it is emulated: its systemd needs `clone3`, which qemu
/// does not have for the processes it runs.
const EMULATED: Release = ("bookworm", "libasound2");

/// What is on it besides the smallest Debian: what every Raspberry Pi OS has and the package needs, and
/// what logs users in.
const PACKAGES: [&str; 13] = [
    "adduser",
    "dbus",
    "dbus-user-session",
    // Recommended by the package, and there is no network to get it from.
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

/// The folder with it, made if it is not there as it should be.
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
    // Written last: what was interrupted is made again.
    fs::write(&recipe, wanted)?;
    Ok(base)
}

/// A copy of it, for one test.
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
