//! Installs the package on a real system, booted for it, and tries everything a user may do there.
//!
//! The system is Debian, its first process is systemd, and it runs in systemd-nspawn: real services, a
//! real bus, logins over SSH, and no network but its own loopback. Nothing of it is imitated but the
//! hardware. It is in `target/boot`, and what the test leaves there may be looked at.

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
mod sandbox;
mod session;
mod start;
mod talking;
mod trouble;
mod unit;
mod wear;

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{architecture::Architecture, say, setup};
use checklist::Checklist;
use gemmad_testbed::nano::{ANSWER, COMMAND};
use login::Login;
use machine::Machine;
use package::Packages;

/// Who is in the group `gemmad`, and who is not.
const MEMBER: &str = "ada";
const OUTSIDER: &str = "bob";

/// Checks what gemmactl printed as the answer to the command.
fn is_answer(printed: &str) -> Result<()> {
    let answer = printed.trim();
    ensure!(answer == ANSWER, "the answer is `{answer}`");
    Ok(())
}

/// Checks that `gemmactl status` printed a daemon that answers.
fn is_ready(status: &str) -> Result<()> {
    ensure!(status.starts_with("state       ready\n"), "{status}");
    Ok(())
}

/// What else is tried.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Also time the start with the model in target/shape, which `cargo xtask shape` writes.
    #[arg(long)]
    shape: bool,
    /// The package for such machines, emulated; without it, the one for machines like this.
    #[arg(long, value_name = "ARCHITECTURE", conflicts_with = "shape")]
    arch: Option<Architecture>,
}

/// Makes packages and system, boots, and tries everything.
pub fn run(options: &Options) -> Result<()> {
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
            // Everything started is dropped, and so ended, on the way out.
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
    // An emulated daemon is too slow to hear somebody in real time.
    talking::checks(&mut list, &machine, &member, &outsider, !is_emulated).await;
    say::step("Managing");
    managing::checks(&mut list, &machine, &member).await;
    say::step("Making trouble");
    trouble::checks(&mut list, &machine, &member, &outsider).await;
    if is_emulated {
        say::step("Being one processor after the other");
        emulation::checks(&mut list, &machine).await;
    } else {
        // These look at the process and measure it, which would be the emulator.
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
