//! Installs the package on a real system, booted for it, and tests everything a user can do there.
//!
//! The system is a Debian that runs in systemd-nspawn, with systemd as its first process: real services, a
//! real bus, logins over SSH, and no network but its own loopback. Only the hardware is virtual. It is in
//! `target/boot`, and stays there after the test for inspection.

mod base;
mod checklist;
mod documentation;
mod emulation;
mod leaving;
mod login;
mod machine;
mod managing;
mod microphone;
mod package;
mod printed;
mod sandbox;
mod session;
mod start;
mod talking;
mod trouble;
mod unit;
mod wear;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, ensure};
use clap::Parser;
use xtask::{architecture::Architecture, say, setup};

use checklist::Checklist;
use login::Login;
use machine::Machine;
use package::Packages;

/// A user in the group `gemmad`, and a user outside it.
const MEMBER: &str = "ada";
const OUTSIDER: &str = "bob";

/// Install the package on a system booted for it, and test everything there; as root.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask boot-test")]
struct Options {
    /// Also time the start with the model in target/shape, written by `cargo xtask shape`.
    #[arg(long)]
    shape: bool,
    /// Architecture of the package, emulated if it is another one than this machine's, which is the default.
    #[arg(long, value_name = "ARCHITECTURE", conflicts_with = "shape")]
    arch: Option<Architecture>,
}

fn main() -> ExitCode {
    say::exit_code(&run(&Options::parse()))
}

/// Makes packages and system, boots, and runs all checks.
fn run(options: &Options) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "booting a system takes root; run this as root, or with `sudo env PATH=\"$PATH\" cargo xtask \
         boot-test`"
    );
    setup::booting()?;
    let here = Architecture::here()?;
    let arch = options.arch.unwrap_or(here);
    let is_emulated = arch != here;
    if is_emulated {
        emulation::prepare(arch)?;
    }
    let packages = Packages::make(arch)?;
    let root = base::copy(&base::prepare(arch, is_emulated)?)?;
    if is_emulated {
        emulation::adapt(&root)?;
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        tokio::select! {
            done = everything(&packages, &root, is_emulated, options.shape) => done,
            // Returning drops, and so ends, everything that was started.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn everything(
    packages: &Packages,
    root: &Path,
    is_emulated: bool,
    with_shape: bool,
) -> Result<()> {
    let mut list = Checklist::default();
    package::checks(&mut list, packages).await;

    say::step("Booting, and installing an older build");
    let machine = list.must("the system boots", Machine::boot(root)).await?;
    package::install(&mut list, &machine, packages).await?;
    say::step("Upgrading to this build");
    package::upgrade(&mut list, &machine, packages).await?;

    login::make_key(&machine).await?;
    let member = Login::create(&machine, MEMBER).await?;
    let outsider = Login::create(&machine, OUTSIDER).await?;
    machine.succeed(&["adduser", MEMBER, "gemmad"]).await?;

    say::step("Asking and speaking");
    // An emulated daemon is too slow to hear speech in real time.
    talking::checks(&mut list, &machine, &member, &outsider, !is_emulated).await;
    say::step("Managing");
    managing::checks(&mut list, &machine, &member).await;
    say::step("Making trouble");
    trouble::checks(&mut list, &machine, &member, &outsider).await;
    if is_emulated {
        say::step("Being one processor after the other");
        emulation::checks(&mut list, &machine).await;
    } else {
        // These checks inspect and measure the process, which under emulation would be qemu.
        say::step("Looking at the sandbox");
        sandbox::checks(&mut list, &machine).await;
        say::step("Wearing it out");
        wear::checks(&mut list, &machine, &member).await;
        say::step("Timing the start");
        start::checks(&mut list, &machine, with_shape).await;
        say::step("Running as the unit of a user");
        session::checks(&mut list, &machine, &outsider).await;
    }

    say::step("Booting again");
    let machine = start::reboot(&mut list, machine).await?;
    say::step("Removing and purging");
    leaving::checks(&mut list, &machine).await;
    if !is_emulated {
        say::step("Doing what docs/install.md says");
        documentation::checks(&mut list, &machine, packages).await;
    }
    machine.power_off().await?;
    list.verdict(root)
}
