//! The package: lintian's checks, installing it, and upgrading to it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use gemmad_testbed::nano::QUESTION;
use tokio::process::Command;
use xtask::{
    architecture::Architecture,
    command::root,
    package::{self, Wanted},
};

use crate::{
    checklist::Checklist,
    machine::{Machine, ran},
    printed::is_answer,
    unit,
};

/// Version of the older build.
const OLDER: &str = "0.0.1-1";

/// Folder of the packages in the system.
const FOLDER: &str = "/srv";

/// Two builds of the same tree.
#[derive(Debug)]
pub struct Packages {
    older: PathBuf,
    newer: PathBuf,
}

impl Packages {
    /// Makes both, for this architecture.
    pub fn make(arch: Architecture) -> Result<Self> {
        let older = package::run(&Wanted::of(arch).with_version(OLDER))?;
        let older = set_aside(&older)?;
        let newer = package::run(&Wanted::of(arch))?;
        Ok(Self { older, newer })
    }

    /// This build.
    pub fn newer(&self) -> &Path {
        &self.newer
    }
}

/// Moves a package aside, because making the next one replaces it.
fn set_aside(package: &Path) -> Result<PathBuf> {
    let folder = root().join("target/boot");
    fs::create_dir_all(&folder)?;
    let aside = folder.join(package.file_name().context("a package has a name")?);
    fs::rename(package, &aside).with_context(|| format!("cannot write {}", aside.display()))?;
    Ok(aside)
}

/// Checks that need no system.
pub async fn checks(list: &mut Checklist, packages: &Packages) {
    list.check("lintian finds nothing", async {
        let mut lintian = Command::new("lintian");
        lintian
            .args(["--fail-on", "error,warning", "--allow-root", "--info"])
            .arg(&packages.newer);
        let lintian = ran(lintian).await?;
        ensure!(
            lintian.code == Some(0),
            "{}{}",
            lintian.stdout,
            lintian.stderr
        );
        Ok(())
    })
    .await;
}

/// Installs the older build.
pub async fn install(list: &mut Checklist, machine: &Machine, packages: &Packages) -> Result<()> {
    let installed = apt_install(machine, &packages.older);
    list.must("apt installs the package", installed).await?;
    list.check("a fresh installation answers at once", async {
        let ask = ["gemmactl", "ask", "--temperature", "0", QUESTION];
        let answer = machine.succeed(&ask).await?;
        is_answer(&answer)?;
        Ok(answer.trim().to_owned())
    })
    .await;
    list.check("the unit is enabled", async {
        let words = ["systemctl", "is-enabled", unit::UNIT];
        let enabled = machine.succeed(&words).await?;
        ensure!(enabled.trim() == "enabled", "it is {enabled}");
        Ok(())
    })
    .await;
    list.check("everything is where people look for it", async {
        let files = [
            "/usr/lib/gemmad/gemmad-supervise",
            "/usr/share/man/man1/gemmactl.1.gz",
            "/usr/share/man/man1/gemmactl-ask.1.gz",
            "/usr/share/man/man5/gemmad.toml.5.gz",
            "/usr/share/man/man8/gemmad.8.gz",
            "/usr/share/bash-completion/completions/gemmactl",
            "/usr/share/fish/vendor_completions.d/gemmactl.fish",
            "/usr/share/zsh/vendor-completions/_gemmactl",
            "/usr/share/gemmad/profiles/raspberry-pi-5.toml",
            "/usr/share/gemmad/profiles/jetson-orin-nano.toml",
            "/usr/share/gemmad/commands/home.toml",
            "/usr/share/gemmad/commands/robot.toml",
            "/usr/share/doc/gemmad/examples/act.py",
            "/usr/share/doc/gemmad/examples/ros2/gemmad_bridge/package.xml",
            "/usr/share/doc/gemmad/third-party.txt",
            "/var/lib/gemmad/models",
        ];
        for file in files {
            ensure!(machine.path(file).exists(), "{file} is missing");
        }
        Ok(())
    })
    .await;
    Ok(())
}

/// Changes the configuration, as an owner would, and upgrades to this build.
pub async fn upgrade(list: &mut Checklist, machine: &Machine, packages: &Packages) -> Result<()> {
    // With greedy sampling the answers are always the same and can be checked.
    unit::set(machine, "temperature", "0.0")?;
    let before = unit::process(machine).await?;
    let upgraded = apt_install(machine, &packages.newer);
    list.must("apt upgrades an older build", upgraded).await?;
    list.check("the upgrade restarts the daemon", async {
        let after = unit::process(machine).await?;
        ensure!(after != before, "it is still the old process");
        unit::property(machine, "StatusText").await
    })
    .await;
    list.check("the upgrade keeps a changed configuration", async {
        let text = fs::read_to_string(machine.path("/etc/gemmad/gemmad.toml"))?;
        ensure!(text.contains("\ntemperature = 0.0\n"), "the change is lost");
        Ok(())
    })
    .await;
    Ok(())
}

async fn apt_install(machine: &Machine, package: &Path) -> Result<()> {
    let package = carry(machine, package, FOLDER)?;
    let install = ["apt-get", "install", "--yes", &package];
    machine.succeed(&install).await.map(drop)
}

/// Copies a package into the system's folder `to`; returns its path there.
pub fn carry(machine: &Machine, package: &Path, to: &str) -> Result<String> {
    let name = package.file_name().context("a package has a name")?;
    let inside = format!("{to}/{}", name.to_string_lossy());
    fs::copy(package, machine.path(&inside))
        .with_context(|| format!("cannot copy {}", package.display()))?;
    Ok(inside)
}
