//! Failures: the daemon is killed, hangs, is stopped during an answer, or is off.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    checklist::{Checklist, until},
    login::Login,
    machine::Machine,
    unit,
};

/// Maximum time for the daemon to end during an answer.
const QUICKLY: Duration = Duration::from_secs(2);

/// A question whose answer takes much longer than any test waits.
const LONG: &str = "gemmactl ask --json 'tell me everything' --min-tokens 4000 --max-tokens 4000";

pub async fn checks(
    list: &mut Checklist,
    machine: &Machine,
    member: &Login<'_>,
    outsider: &Login<'_>,
) {
    list.check("killed, it is back and answers", async {
        let took = until_back_from(machine, "KILL", Duration::from_secs(20)).await?;
        member.is_answered().await?;
        Ok(format!("after {:.1} s", took.as_secs_f64()))
    })
    .await;
    list.check("frozen, it is killed by the watchdog and is back", async {
        let took = until_back_from(machine, "STOP", Duration::from_secs(90)).await?;
        let journal = unit::journal(machine, &[]).await?;
        ensure!(
            journal.contains("Watchdog timeout"),
            "it was not the watchdog"
        );
        member.is_answered().await?;
        Ok(format!("after {:.0} s", took.as_secs_f64()))
    })
    .await;
    list.check(
        "stopped in the middle of an answer, it ends within 2 s",
        stopped(machine, member),
    )
    .await;
    off(list, machine, member, outsider).await;
}

/// Sends the daemon a signal that it does not survive; returns the time until it is back.
async fn until_back_from(machine: &Machine, signal: &str, patience: Duration) -> Result<Duration> {
    let before = unit::restarts(machine).await?;
    let signal = format!("--signal={signal}");
    let kill = ["systemctl", "kill", &signal, unit::UNIT];
    machine.succeed(&kill).await?;
    let began = Instant::now();
    unit::until_restarted(machine, before, patience).await?;
    Ok(began.elapsed())
}

async fn stopped(machine: &Machine, member: &Login<'_>) -> Result<String> {
    let mut asking = member.command(LONG).spawn()?;
    let words = asking.stdout.take().context("it has no output")?;
    let mut words = BufReader::new(words).lines();
    words.next_line().await?.context("no answer begins")?;
    let began = Instant::now();
    unit::stop(machine).await?;
    let took = began.elapsed();
    let mut last = String::new();
    while let Some(line) = words.next_line().await? {
        last = line;
    }
    let ended = asking.wait_with_output().await?;
    ensure!(took < QUICKLY, "it took {:.1} s", took.as_secs_f64());
    ensure!(
        !last.contains("\"done\""),
        "the answer was complete: {last}"
    );
    let code = ended.status.code();
    ensure!(
        matches!(code, Some(3 | 130)),
        "gemmactl exits with {code:?}"
    );
    let result = unit::property(machine, "Result").await?;
    ensure!(result == "success", "systemd calls it {result}");
    Ok(format!("after {:.2} s", took.as_secs_f64()))
}

/// Checks of a daemon that is off; it runs again at the end.
async fn off(list: &mut Checklist, machine: &Machine, member: &Login<'_>, outsider: &Login<'_>) {
    list.check("an outsider cannot start it by calling it", async {
        let refused = outsider.run("gemmactl status").await?;
        ensure!(
            refused.code == Some(4),
            "it exits with {:?}: {}",
            refused.code,
            refused.stderr
        );
        let state = unit::property(machine, "ActiveState").await?;
        ensure!(state == "inactive", "the unit is {state}");
        Ok(())
    })
    .await;
    list.check("a member starts it by calling it", async {
        member.is_answered().await?;
        until("an active unit", Duration::from_secs(20), async || {
            let state = unit::property(machine, "ActiveState").await?;
            Ok((state == "active").then_some(()))
        })
        .await?;
        Ok(())
    })
    .await;
    list.check("disabled, it stays off, and a member is told", async {
        machine
            .succeed(&["systemctl", "disable", "--now", unit::UNIT])
            .await?;
        let told = member.run("gemmactl status").await?;
        ensure!(
            told.code == Some(3),
            "it exits with {:?}: {}",
            told.code,
            told.stderr
        );
        ensure!(
            told.stderr.contains("sudo systemctl start gemmad"),
            "{}",
            told.stderr
        );
        machine
            .succeed(&["systemctl", "enable", "--now", unit::UNIT])
            .await?;
        Ok(told.stderr.trim().to_owned())
    })
    .await;
}
