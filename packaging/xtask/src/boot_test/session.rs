//! The same daemon as the unit of a user, on the session bus: for somebody outside the group `gemmad`.

use anyhow::{Result, ensure};

use super::{
    ANSWER, COMMAND, checklist::Checklist, login::Login, machine::Machine, microphone, unit,
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
        Ok(String::new())
    })
    .await;
    list.check("gemmactl finds it without being told where", async {
        let status = user.succeed("gemmactl status").await?;
        ensure!(status.starts_with("state       ready\n"), "{status}");
        let ask = format!("gemmactl ask --temperature 0 '{COMMAND}'");
        let answer = user.succeed(&ask).await?;
        ensure!(answer.trim() == ANSWER, "the answer is {answer}");
        Ok(String::new())
    })
    .await;
    list.check("it hears the user's own microphone", async {
        heard(machine, user).await
    })
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
        let status = machine.succeed(&["gemmactl", "status"]).await?;
        ensure!(status.starts_with("state       ready\n"), "{status}");
        let own = user.succeed("gemmactl --session status").await?;
        ensure!(own.starts_with("state       ready\n"), "{own}");
        user.succeed("systemctl --user stop gemmad").await?;
        Ok(String::new())
    })
    .await;
}

async fn heard(machine: &Machine, user: &Login<'_>) -> Result<String> {
    let home = format!("/home/{}", user.name());
    let folder = format!("{home}/microphone");
    let microphone = microphone::plug_in(machine, &folder, &format!("{home}/.asoundrc"))?;
    // Greedy answers are the same each time; a file of their own goes before the machine's.
    let settings = "mkdir -p ~/.config/gemmad && cp /etc/gemmad/gemmad.toml ~/.config/gemmad/";
    user.succeed(settings).await?;
    user.succeed("systemctl --user restart gemmad").await?;
    let listen = user.command("gemmactl listen --once");
    microphone::listen_once(listen, &microphone).await?;
    Ok(String::new())
}
