//! The system to boot: a small Debian, made once, and copied for each test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    command::{execute, root},
    say,
};

/// The release: what Raspberry Pi OS is made of.
const RELEASE: &str = "trixie";

/// What is on it besides the smallest Debian: what every Raspberry Pi OS has and the package needs, and
/// what logs users in.
const PACKAGES: [&str; 13] = [
    "adduser",
    "dbus",
    "dbus-user-session",
    "libasound2t64",
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
pub fn prepare() -> Result<PathBuf> {
    let folder = root().join("target/boot");
    let (base, recipe) = (folder.join("base"), folder.join("base.recipe"));
    let wanted = format!("{RELEASE} {}", PACKAGES.join(","));
    if fs::read_to_string(&recipe).is_ok_and(|made| made == wanted) {
        return Ok(base);
    }
    say::step("Making a Debian to boot (about 2 minutes)");
    fs::create_dir_all(&folder)?;
    remove(&base)?;
    let include = format!("--include={}", PACKAGES.join(","));
    let options = ["--variant=minbase", &include, RELEASE];
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
