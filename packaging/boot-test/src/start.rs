//! Time from `systemctl start` to an answer, and an unattended boot.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use gemmad_api::ManagerState;
use gemmad_testbed::Model;
use rustix::fs::{Advice, fadvise};
use xtask::command::root;

use crate::{
    checklist::{Checklist, until},
    machine::Machine,
    unit,
};

/// Number of starts measured with the nano model; a model of gigabytes is started once each.
const STARTS: usize = 5;

/// The system's folder with the model of real size.
const SHAPE: &str = "/srv/shape";

pub async fn checks(list: &mut Checklist, machine: &Machine, with_shape: bool) {
    list.check("from systemctl start to ready, nano model", async {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(time(machine).await?);
        }
        times.sort_by(f64::total_cmp);
        let middle = times[STARTS / 2];
        Ok(format!("{middle:.0} ms, the middle of {STARTS}"))
    })
    .await;
    if with_shape {
        large(list, machine).await;
    }
}

/// Time from the start until the daemon is ready, by systemd's clock, in ms.
async fn time(machine: &Machine) -> Result<f64> {
    unit::stop(machine).await?;
    unit::start(machine).await?;
    ensure!(
        unit::state(machine).await? == ManagerState::Ready,
        "it is started and not ready"
    );
    let began: f64 = microseconds(machine, "InactiveExitTimestampMonotonic").await?;
    let ready: f64 = microseconds(machine, "ActiveEnterTimestampMonotonic").await?;
    Ok((ready - began) / 1000.0)
}

async fn microseconds(machine: &Machine, property: &str) -> Result<f64> {
    Ok(unit::property(machine, property).await?.parse()?)
}

/// Times the start with a model of the shape of Gemma 4 E2B, from a cold page cache and then from a warm one.
async fn large(list: &mut Checklist, machine: &Machine) {
    let files = Model::in_folder(&root().join("target/shape"), "e2b-q4_0");
    let prepared = async {
        fs::create_dir_all(machine.path(SHAPE))?;
        for (key, file) in [("text", &files.text), ("mmproj", &files.mmproj)] {
            let name = file.file_name().context("a model file has a name")?;
            let inside = Path::new(SHAPE).join(name);
            let link = machine.path(SHAPE).join(name);
            fs::hard_link(file, &link).with_context(|| missing(file))?;
            unit::set(machine, key, &format!("\"{}\"", inside.display()))?;
        }
        Ok(())
    };
    if list
        .must("the model of real size is configured", prepared)
        .await
        .is_err()
    {
        return;
    }
    for (name, cold) in [("cold", true), ("warm", false)] {
        let what = format!("from systemctl start to ready, shape of E2B, {name} page cache");
        list.check(&what, async {
            if cold {
                unit::stop(machine).await?;
                forget(&files.text)?;
                forget(&files.mmproj)?;
            }
            Ok(format!("{:.1} s", time(machine).await? / 1000.0))
        })
        .await;
    }
    list.check("the nano model is configured again", async {
        let nano = |file: &str| format!("\"/usr/share/gemmad/models/nano/{file}\"");
        unit::set(machine, "text", &nano("nano-f16.gguf"))?;
        unit::set(machine, "mmproj", &nano("nano-f16.mmproj.gguf"))?;
        unit::act(machine, "restart").await?;
        Ok(())
    })
    .await;
}

/// Drops a file from the kernel's page cache.
fn forget(file: &Path) -> Result<()> {
    let open = File::open(file).with_context(|| missing(file))?;
    Ok(fadvise(&open, 0, None, Advice::DontNeed)?)
}

fn missing(file: &Path) -> String {
    format!(
        "cannot use {}; `cargo xtask shape` writes it",
        file.display()
    )
}

/// Reboots the system.
pub async fn reboot(list: &mut Checklist, machine: Machine) -> Result<Machine> {
    let root = machine.power_off().await?;
    let machine = list
        .must("the system boots again", Machine::boot(&root))
        .await?;
    list.check("after a boot it is ready without anybody", async {
        until(
            "a daemon that is ready",
            Duration::from_mins(1),
            async || {
                let state = unit::state(&machine).await.unwrap_or_default();
                Ok((state == ManagerState::Ready).then_some(()))
            },
        )
        .await?;
        Ok(())
    })
    .await;
    Ok(machine)
}
