//! The system's unit, `gemmad.service`: how it is, and waiting for it.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use gemmad_api::{ManagerProxy, ManagerState};
use zbus::proxy::CacheProperties;

use super::{checklist::until, machine::Machine};

/// Its name.
pub const UNIT: &str = "gemmad.service";

/// One of its properties, as systemd tells it.
pub async fn property(machine: &Machine, name: &str) -> Result<String> {
    let show = ["systemctl", "show", "--value", "--property", name, UNIT];
    Ok(machine.succeed(&show).await?.trim().to_owned())
}

/// The number of its process, in the system.
pub async fn process(machine: &Machine) -> Result<String> {
    let process = property(machine, "MainPID").await?;
    ensure!(process != "0", "{UNIT} does not run");
    Ok(process)
}

/// A file that the kernel keeps about its process.
pub async fn process_file(machine: &Machine, name: &str) -> Result<String> {
    let file = format!("/proc/{}/{name}", process(machine).await?);
    let file = machine.living_path(&file);
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// What it logged, as `options` of journalctl say.
pub async fn journal(machine: &Machine, options: &[&str]) -> Result<String> {
    let journal = ["journalctl", "--unit", UNIT];
    machine.succeed(&[&journal[..], options].concat()).await
}

/// How often systemd started it again.
pub async fn restarts(machine: &Machine) -> Result<u32> {
    Ok(property(machine, "NRestarts").await?.parse()?)
}

/// Waits until systemd has started it again after `before` restarts, and it is ready.
pub async fn until_restarted(machine: &Machine, before: u32, patience: Duration) -> Result<()> {
    until("a restart", patience, async || {
        let again = restarts(machine).await? > before;
        let active = property(machine, "ActiveState").await? == "active";
        Ok((again && active).then_some(()))
    })
    .await
}

/// Starts it; when this returns, it is ready.
pub async fn start(machine: &Machine) -> Result<()> {
    act(machine, "start").await
}

/// Stops it.
pub async fn stop(machine: &Machine) -> Result<()> {
    act(machine, "stop").await
}

/// What systemctl calls `verb`. That many starts in a short time are no accident here.
pub async fn act(machine: &Machine, verb: &str) -> Result<()> {
    machine.succeed(&["systemctl", "reset-failed"]).await?;
    machine.succeed(&["systemctl", verb, UNIT]).await.map(drop)
}

/// Has it read its configuration again, with systemctl where systemd is new enough, and returns when that is done.
pub async fn reload(machine: &Machine) -> Result<()> {
    if property(machine, "CanReload").await? == "yes" {
        return act(machine, "reload").await;
    }
    machine.succeed(&["gemmactl", "reload"]).await.map(drop)
}

/// The state that the daemon itself tells.
pub async fn state(machine: &Machine) -> Result<ManagerState> {
    let bus = machine.bus().await?;
    let manager = ManagerProxy::builder(&bus).cache_properties(CacheProperties::No);
    Ok(manager.build().await?.state().await?)
}

/// Runs `change` on its configuration, a line at a time.
pub fn reconfigure(machine: &Machine, change: impl Fn(&str) -> String) -> Result<()> {
    let file = machine.path("/etc/gemmad/gemmad.toml");
    let text = fs::read_to_string(&file)?;
    let text: Vec<_> = text.lines().map(change).collect();
    Ok(fs::write(file, text.join("\n") + "\n")?)
}

/// Sets a key of its configuration that stands there, whatever its section.
pub fn set(machine: &Machine, key: &str, value: &str) -> Result<()> {
    let start = format!("{key} = ");
    reconfigure(machine, |line| {
        if line.starts_with(&start) {
            format!("{start}{value}")
        } else {
            line.into()
        }
    })
}
