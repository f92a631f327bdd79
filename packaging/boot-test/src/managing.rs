//! Reloading the configuration: all ways, and the permission for it.

use anyhow::{Context, Result, ensure};
use gemmad_api::Event;
use gemmad_testbed::nano::QUESTION;

use crate::{checklist::Checklist, login::Login, machine::Machine, unit};

pub async fn checks(list: &mut Checklist, machine: &Machine, member: &Login<'_>) {
    list.check("a member may not reload, and is told who may", async {
        let refused = member.run("gemmactl reload").await?;
        ensure!(refused.code == Some(4), "it exits with {:?}", refused.code);
        ensure!(
            refused.stderr.contains("org.gemmad1.manage"),
            "{}",
            refused.stderr
        );
        ensure!(refused.stderr.contains("sudo"), "{}", refused.stderr);
        Ok(())
    })
    .await;
    list.check("root reloads with gemmactl", async {
        unit::set(machine, "max_tokens", "3")?;
        unit::set(machine, "parallel", "1")?;
        let told = machine.succeed(&["gemmactl", "reload"]).await?;
        ensure!(told.contains("in force: answer.max_tokens"), "{told}");
        ensure!(told.contains("after a restart: engine.parallel"), "{told}");
        tokens(member, 3).await?;
        Ok(told.trim().replace('\n', "; "))
    })
    .await;
    list.check(
        "the unit is reloaded, which waits until it is done",
        async {
            unit::set(machine, "max_tokens", "4")?;
            unit::set(machine, "parallel", "2")?;
            unit::reload(machine).await?;
            tokens(member, 4).await?;
            unit::property(machine, "StatusText").await
        },
    )
    .await;
    list.check(
        "a configuration that does not fit is refused with its place",
        async {
            unit::set(machine, "max_tokens", "\"many\"")?;
            let refused = machine.run(&["gemmactl", "reload"]).await?;
            ensure!(refused.code == Some(4), "it exits with {:?}", refused.code);
            let told = &refused.stderr;
            ensure!(told.contains("gemmad.toml:"), "{told}");
            ensure!(told.contains("answer.max_tokens"), "{told}");
            // The configuration in force stays, and the unit can still be reloaded.
            tokens(member, 4).await?;
            unit::set(machine, "max_tokens", "512")?;
            unit::reload(machine).await?;
            Ok(())
        },
    )
    .await;
    list.check("polkit knows the action", async {
        let action = ["pkaction", "--verbose", "--action-id", "org.gemmad1.manage"];
        let action = machine.succeed(&action).await?;
        ensure!(action.contains("implicit any:      auth_admin"), "{action}");
        ensure!(
            action.contains("implicit active:   auth_admin_keep"),
            "{action}"
        );
        Ok(())
    })
    .await;
}

/// Checks that an answer ends after `wanted` tokens.
async fn tokens(member: &Login<'_>, wanted: u32) -> Result<()> {
    let ask = format!("gemmactl ask --json '{QUESTION}'");
    // An answer that is cut off has an exit code of its own.
    let events = member.run(&ask).await?.stdout;
    let last = events.lines().last().context("there is no answer")?;
    let Event::Done(stats) = serde_json::from_str(last)? else {
        anyhow::bail!("the answer does not end: {last}");
    };
    let got = stats.output_tokens;
    ensure!(
        got == wanted,
        "the answer has {got} tokens instead of {wanted}"
    );
    Ok(())
}
