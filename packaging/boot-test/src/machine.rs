//! The booted system, and programs in it as root.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use zbus::{Connection, connection};

use crate::checklist::until;

/// Longest time to boot, and to shut down.
const PATIENCE: Duration = Duration::from_mins(2);

/// Longest wait for a reply on the system's bus.
const REPLY: Duration = Duration::from_mins(1);

/// A running system. It is killed when dropped; [`Machine::power_off`] ends it in order.
#[derive(Debug)]
pub struct Machine {
    container: Child,
    /// Id of the system's first process.
    leader: String,
    root: PathBuf,
}

/// The result of a program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Machine {
    /// Boots the system in the folder `root`, and waits until everything has started.
    pub async fn boot(root: &Path) -> Result<Self> {
        let console = root.with_file_name("console.txt");
        let console = File::create(&console)
            .with_context(|| format!("cannot write {}", console.display()))?;
        let container = Command::new("systemd-nspawn")
            .args(["--quiet", "--boot", "--private-network", "--console=pipe"])
            // Independent of the machine's own systemd, which may be missing.
            .args(["--register=no", "--keep-unit", "--link-journal=no"])
            .args(["--machine=gemmad-boot-test", "--directory"])
            .arg(root)
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run systemd-nspawn")?;
        let mut machine = Self {
            container,
            leader: String::new(),
            root: root.into(),
        };
        machine.leader = until("a first process", PATIENCE, async || machine.child()).await?;
        until("a system bus", PATIENCE, async || {
            let list = machine.run(&["busctl", "--system", "list"]).await?;
            Ok((list.code == Some(0)).then_some(()))
        })
        .await?;
        let state = machine.run(&["systemctl", "is-system-running", "--wait"]);
        let state = state.await?;
        ensure!(
            state.stdout.trim() == "running",
            "the system is {}: {}",
            state.stdout.trim(),
            machine
                .succeed(&["systemctl", "--failed", "--plain"])
                .await?
        );
        Ok(machine)
    }

    /// The container's child, once it is systemd.
    fn child(&self) -> Result<Option<String>> {
        let container = self.container.id().context("systemd-nspawn has ended")?;
        let children = format!("/proc/{container}/task/{container}/children");
        let children = fs::read_to_string(children)?;
        let child = children.split_whitespace().find(|child| {
            let name = fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name.trim() == "systemd")
        });
        Ok(child.map(ToOwned::to_owned))
    }

    /// Path outside the system of its file `inside`.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Path outside the system of its file `inside` in a file system in memory, such as /proc and /run.
    pub fn living_path(&self, inside: &str) -> PathBuf {
        Path::new("/proc")
            .join(&self.leader)
            .join("root")
            .join(inside.trim_start_matches('/'))
    }

    /// A program in the system, as root; not yet started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader, "--all", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a program in the system as root, to its end.
    pub async fn run(&self, words: &[&str]) -> Result<Ran> {
        ran(self.command(words)).await
    }

    /// Runs a program in the system as root, which must succeed; returns its standard output.
    pub async fn succeed(&self, words: &[&str]) -> Result<String> {
        let ran = self.run(words).await?;
        ensure!(
            ran.code == Some(0),
            "`{}` failed: {}{}",
            words.join(" "),
            ran.stdout,
            ran.stderr
        );
        Ok(ran.stdout)
    }

    /// A connection to the system's bus, as root.
    pub async fn bus(&self) -> Result<Connection> {
        let socket = self.living_path("/run/dbus/system_bus_socket");
        let address = format!("unix:path={}", socket.display());
        let connection = connection::Builder::address(address.as_str());
        Ok(connection.method_timeout(REPLY).build().await?)
    }

    /// Shuts it down; returns its folder.
    pub async fn power_off(mut self) -> Result<PathBuf> {
        self.succeed(&["systemctl", "poweroff"]).await?;
        let end = tokio::time::timeout(PATIENCE, self.container.wait()).await;
        end.context("the system does not shut down")??;
        Ok(self.root.clone())
    }
}

impl Drop for Machine {
    /// Kills the system's first process, because the system outlives systemd-nspawn.
    fn drop(&mut self) {
        let leader = self.leader.parse().ok().and_then(Pid::from_raw);
        if let (Some(_), Some(leader)) = (self.container.id(), leader) {
            // It can fail only if the system is going down already.
            let _ = kill_process(leader, Signal::KILL);
        }
    }
}

/// Runs `command` to its end.
pub async fn ran(mut command: Command) -> Result<Ran> {
    let output = command.output().await.context("cannot run it")?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
