//! Questions and spoken turns of users, and attempts by a user who may not.

use anyhow::{Result, ensure};
use gemmad_testbed::nano::{ANSWER, QUESTION};

use crate::{
    checklist::Checklist, login::Login, machine::Machine, microphone, printed::is_ready, unit,
};

/// Time for which an outsider waits for a signal, in seconds; the member is answered meanwhile.
const EAVESDROPPING: &str = "20";

pub async fn checks(
    list: &mut Checklist,
    machine: &Machine,
    member: &Login<'_>,
    outsider: &Login<'_>,
    in_real_time: bool,
) {
    list.check("a member sees the status over SSH", async {
        is_ready(&member.succeed("gemmactl status").await?)
    })
    .await;
    list.check("a member asks over SSH", async {
        member.is_answered().await
    })
    .await;
    list.check("a member asks with busctl", async {
        let call = format!(
            "busctl call org.gemmad1 /org/gemmad1 org.gemmad1.Manager Ask 'sa{{sv}}' '{QUESTION}' 0"
        );
        let answer = member.succeed(&call).await?;
        ensure!(answer.contains(ANSWER), "{answer}");
        Ok(())
    })
    .await;
    refused(list, outsider).await;
    if in_real_time {
        list.check(
            "the unit hears a member say it, and no outsider hears of it",
            heard(machine, member, outsider),
        )
        .await;
    }
    list.check("the journal does not hold what was said", async {
        let journal = unit::journal(machine, &[]).await?;
        ensure!(!journal.contains("kitchen"), "{journal}");
        Ok(())
    })
    .await;
    list.check("the journal explains its events", async {
        let entries = unit::journal(machine, &["--catalog"]).await?;
        ensure!(entries.contains("gemmad has started"), "{entries}");
        ensure!(entries.contains("gemmad has loaded"), "{entries}");
        Ok(())
    })
    .await;
}

async fn refused(list: &mut Checklist, outsider: &Login<'_>) {
    list.check("an outsider is refused, and told how to get in", async {
        for command in [
            "gemmactl status",
            "gemmactl ask hello",
            "gemmactl listen --once",
        ] {
            let refused = outsider.run(command).await?;
            let told = &refused.stderr;
            ensure!(
                refused.code == Some(4),
                "`{command}` exits with {:?}",
                refused.code
            );
            ensure!(told.contains("members of the group gemmad"), "{told}");
            ensure!(
                told.contains(&format!("sudo adduser {} gemmad", outsider.name())),
                "{told}"
            );
        }
        Ok(())
    })
    .await;
    list.check("an outsider cannot even look at the objects", async {
        let busctl = "busctl introspect org.gemmad1 /org/gemmad1";
        let refused = outsider.run(busctl).await?;
        ensure!(
            refused.stderr.contains("Access denied"),
            "{}",
            refused.stderr
        );
        Ok(())
    })
    .await;
}

/// The member speaks and gets an answer; the outsider waits for a signal of it in vain.
async fn heard(machine: &Machine, member: &Login<'_>, outsider: &Login<'_>) -> Result<()> {
    let folder = "/var/lib/gemmad/microphone";
    let microphone = microphone::plug_in(machine, folder, "/etc/asound.conf")?;
    let wait = format!(
        "timeout {EAVESDROPPING} busctl wait /org/gemmad1/voice org.gemmad1.Voice Transcript"
    );
    let mut eavesdropper = outsider.command(&wait).spawn()?;
    let bystander = member.command(&wait).spawn()?;
    let listen = member.command("gemmactl listen --once");
    microphone::listen_once(listen, &microphone).await?;
    let seen = bystander.wait_with_output().await?;
    ensure!(seen.status.success(), "a member got no signal of it either");
    ensure!(
        eavesdropper.try_wait()?.is_none(),
        "an outsider got the transcript"
    );
    eavesdropper.kill().await?;
    Ok(())
}
