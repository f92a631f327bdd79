//! The daemon as a unit of a user, on the session bus, for a user outside the group `gemmad`.

use anyhow::{Result, ensure};
use gemmad_testbed::nano::QUESTION;

use crate::{
    checklist::Checklist, login::Login, machine::Machine, microphone, printed::is_answer,
    printed::is_ready, unit,
};

pub async fn checks(list: &mut Checklist, machine: &Machine, user: &Login<'_>) {
    let prepared = async {
        // Their service manager must outlive each login.
        machine
            .succeed(&["loginctl", "enable-linger", user.name()])
            .await?;
        machine
            .succeed(&["systemctl", "disable", "--now", unit::UNIT])
            .await?;
        user.succeed("systemctl --user start gemmad").await
    };
    if list
        .must("a user starts a daemon of their own", prepared)
        .await
        .is_err()
    {
        return;
    }
    list.check("systemd finds nothing wrong with the user's unit", async {
        let verify = "systemd-analyze verify --user --man=no gemmad.service 2>&1";
        let said = user.succeed(verify).await?;
        ensure!(said.is_empty(), "{said}");
        Ok(())
    })
    .await;
    list.check("gemmactl finds it without being told where", async {
        is_ready(&user.succeed("gemmactl status").await?)?;
        let ask = format!("gemmactl ask --temperature 0 '{QUESTION}'");
        is_answer(&user.succeed(&ask).await?)
    })
    .await;
    list.check("it hears the user's own microphone", heard(machine, user))
        .await;
    list.check("its user reloads it without asking anybody", async {
        let told = user.succeed("gemmactl reload").await?;
        user.succeed("systemctl --user reload gemmad").await?;
        Ok(told.trim().to_owned())
    })
    .await;
    list.check("the system's daemon goes first when both run", async {
        machine
            .succeed(&["systemctl", "enable", "--now", unit::UNIT])
            .await?;
        is_ready(&machine.succeed(&["gemmactl", "status"]).await?)?;
        is_ready(&user.succeed("gemmactl --session status").await?)?;
        user.succeed("systemctl --user stop gemmad").await?;
        Ok(())
    })
    .await;
}

async fn heard(machine: &Machine, user: &Login<'_>) -> Result<()> {
    let home = format!("/home/{}", user.name());
    let folder = format!("{home}/microphone");
    let microphone = microphone::plug_in(machine, &folder, &format!("{home}/.asoundrc"))?;
    // The user's configuration file takes precedence over the machine's, whose sampling is greedy.
    let settings = "mkdir -p ~/.config/gemmad && cp /etc/gemmad/gemmad.toml ~/.config/gemmad/";
    user.succeed(settings).await?;
    user.succeed("systemctl --user restart gemmad").await?;
    let listen = user.command("gemmactl listen --once");
    microphone::listen_once(listen, &microphone).await
}
