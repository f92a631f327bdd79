//! Files left after the package is removed, and after it is purged.

use anyhow::{Result, ensure};

use crate::{checklist::Checklist, machine::Machine, unit};

pub async fn checks(list: &mut Checklist, machine: &Machine) {
    list.check(
        "removing ends it and keeps configuration and models",
        async {
            machine
                .succeed(&["apt-get", "remove", "--yes", "gemmad"])
                .await?;
            let state = unit::property(machine, "ActiveState").await?;
            ensure!(state == "inactive", "the unit is {state}");
            for file in ["/etc/gemmad/gemmad.toml", "/var/lib/gemmad/models"] {
                ensure!(machine.path(file).exists(), "{file} is gone");
            }
            ensure!(
                !machine.path("/usr/bin/gemmad").exists(),
                "the program is still there"
            );
            Ok(())
        },
    )
    .await;
    list.check("purging leaves nothing, not even the user", async {
        machine
            .succeed(&["apt-get", "purge", "--yes", "gemmad"])
            .await?;
        let left = left(machine).await?;
        ensure!(left.is_empty(), "these are left: {}", left.join(" "));
        for database in ["passwd", "group"] {
            let entry = machine.run(&["getent", database, "gemmad"]).await?;
            ensure!(
                entry.code != Some(0),
                "{database} still has {}",
                entry.stdout
            );
        }
        Ok(())
    })
    .await;
}

/// Files with its name, except logs and the files of this test.
async fn left(machine: &Machine) -> Result<Vec<String>> {
    let find = ["find", "/", "-xdev", "-name", "*gemma*"];
    let found = machine.succeed(&find).await?;
    let ours = |path: &&str| {
        !["/srv/", "/home/", "/var/log/"]
            .iter()
            .any(|top| path.starts_with(top))
    };
    Ok(found.lines().filter(ours).map(ToOwned::to_owned).collect())
}
