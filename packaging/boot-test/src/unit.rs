//! The system's unit, `gemmad.service`: its properties and state.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use gemmad_api::{ManagerProxy, ManagerState};
use zbus::proxy::CacheProperties;

use crate::{checklist::until, machine::Machine};

/// Its name.
pub const UNIT: &str = "gemmad.service";

/// One of its properties in systemd.
pub async fn property(machine: &Machine, name: &str) -> Result<String> {
    let show = ["systemctl", "show", "--value", "--property", name, UNIT];
    Ok(machine.succeed(&show).await?.trim().to_owned())
}

/// Id of its process, as seen in the system.
pub async fn process(machine: &Machine) -> Result<String> {
    let process = property(machine, "MainPID").await?;
    ensure!(process != "0", "{UNIT} does not run");
    Ok(process)
}

/// Contents of `/proc/PID/NAME` of its process.
pub async fn process_file(machine: &Machine, name: &str) -> Result<String> {
    let file = format!("/proc/{}/{name}", process(machine).await?);
    let file = machine.living_path(&file);
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// Its log, selected by `options` of journalctl.
pub async fn journal(machine: &Machine, options: &[&str]) -> Result<String> {
    let journal = ["journalctl", "--unit", UNIT];
    machine.succeed(&[&journal[..], options].concat()).await
}

/// Number of times that systemd has restarted it.
pub async fn restarts(machine: &Machine) -> Result<u32> {
    Ok(property(machine, "NRestarts").await?.parse()?)
}

/// Waits until systemd has restarted it more than `before` times, and it is ready.
pub async fn until_restarted(machine: &Machine, before: u32, patience: Duration) -> Result<()> {
    until("a restart", patience, async || {
        let again = restarts(machine).await? > before;
        let active = property(machine, "ActiveState").await? == "active";
        Ok((again && active).then_some(()))
    })
    .await
}

/// Starts it, and waits until it is ready.
pub async fn start(machine: &Machine) -> Result<()> {
    act(machine, "start").await
}

/// Stops it.
pub async fn stop(machine: &Machine) -> Result<()> {
    act(machine, "stop").await
}

/// Runs `systemctl VERB` on it. The start limit is reset first: many starts in a short time are intended here.
pub async fn act(machine: &Machine, verb: &str) -> Result<()> {
    machine.succeed(&["systemctl", "reset-failed"]).await?;
    machine.succeed(&["systemctl", verb, UNIT]).await.map(drop)
}

/// Reloads its configuration, with systemctl if systemd is new enough, and returns when that is done.
pub async fn reload(machine: &Machine) -> Result<()> {
    if property(machine, "CanReload").await? == "yes" {
        return act(machine, "reload").await;
    }
    machine.succeed(&["gemmactl", "reload"]).await.map(drop)
}

/// State of the daemon, from the daemon itself.
pub async fn state(machine: &Machine) -> Result<ManagerState> {
    let bus = machine.bus().await?;
    let manager = ManagerProxy::builder(&bus).cache_properties(CacheProperties::No);
    Ok(manager.build().await?.state().await?)
}

/// Applies `change` to each line of its configuration.
pub fn reconfigure(machine: &Machine, change: impl Fn(&str) -> String) -> Result<()> {
    let file = machine.path("/etc/gemmad/gemmad.toml");
    let text = fs::read_to_string(&file)?;
    let text: Vec<_> = text.lines().map(change).collect();
    Ok(fs::write(file, text.join("\n") + "\n")?)
}

/// Sets a key of its configuration that is in the file, in every section that has it.
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
