//! 200 clients misuse the daemon in many ways at the same time, while three others have to be served: one
//! asks, one halts, one reads the state. A service manager's watchdog observes the daemon.
//!
//! | file | owns |
//! |---|---|
//! | `arms` | the big and broken inputs, made once and shared |
//! | `attacker` | a client that misuses the daemon |
//! | `witness` | the clients that have to be served, the watchdog, the memory |

mod arms;
mod attacker;
mod witness;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use gemmad_testbed::{Bus, Daemon, Loudspeaker, Model};
use tokio::time::{sleep, timeout};
use xtask::{command::root, say};

use crate::{figure::Figure, setting::Bench};
use arms::Arms;
use attacker::Attackers;
use witness::{Patrol, Watchdog, memory};

/// Number of clients that misuse the daemon.
const ATTACKERS: u64 = 200;

/// Limit of its open files: systemd's default for a service.
const DESCRIPTORS: u64 = 1024;

/// Time in which the watchdog expects a sign of life. The daemon gives two in that time.
const WATCHDOG: Duration = Duration::from_secs(2);

/// Maximum time for an answer after the siege.
const RECOVERY: Duration = Duration::from_secs(30);

/// Lays siege for `minutes`.
pub async fn measure(bench: &Bench, minutes: u64) -> Result<Vec<Figure>> {
    let bus = Arc::new(Bus::start().await?);
    let folder = tempfile::tempdir()?;
    let commands = folder.path().join("commands");
    std::fs::create_dir(&commands)?;
    catalogue(&commands)?;
    let arms = Arc::new(Arms::make(folder.path())?);
    let watchdog = Watchdog::at(&folder.path().join("notify"))?;
    let loudspeaker = Loudspeaker::alsa()?;
    let mut daemon = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .loudspeaker(&loudspeaker)
        .commands(&commands)
        .descriptors(DESCRIPTORS)
        .env("NOTIFY_SOCKET", watchdog.path())
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .start()
        .await?;
    let process = daemon.process().context("gemmad has ended")?;
    let answer = witness::ask(daemon.manager()).await?;
    let idle_mb = memory(process)?;

    let begin = Instant::now();
    let patrol = Patrol::send(&bus, process, answer.clone());
    let attackers = Attackers::lay_siege(&bus, &arms, ATTACKERS);
    let ended = tokio::select! {
        () = sleep(Duration::from_secs(minutes * 60)) => None,
        status = daemon.wait() => Some(status?),
    };
    let gap = watchdog.longest_gap(begin);
    let abuses = attackers.leave();
    let seen = tokio::task::block_in_place(|| patrol.back())?;
    let asked = timeout(RECOVERY, witness::ask_patiently(daemon.manager())).await;
    let recovered = asked.is_ok_and(|text| text.is_ok_and(|text| text == answer));
    if let Some(status) = ended {
        say::warning(&format!("gemmad ended under siege: {status}"));
    }
    if ended.is_some() || !recovered {
        keep_log(&daemon)?;
    }
    let siege = format!(
        "under {abuses} abuses by {ATTACKERS} clients in {minutes} min, with {DESCRIPTORS} descriptors"
    );
    let figure = |name: &str, unit: &str, value: f64, meaning: &str| {
        let figure = Figure::new(name, unit, vec![value], &Model::nano())?;
        anyhow::Ok(figure.meaning(&format!("{meaning}, {siege}.")))
    };
    let flag = |flag: bool| f64::from(u8::from(flag));
    Ok(vec![
        figure("siege_exits", "", flag(ended.is_some()), "How often the daemon ended")?.goal("= 0"),
        figure("siege_halt_p99_ms", "ms", seen.halt_ms, "From `Halt` to its reply, 99th percentile")?
            .goal("≤ 100 ms"),
        figure(
            "siege_state_p99_ms",
            "ms",
            seen.state_ms,
            "From asking for `State` to the reply, 99th percentile",
        )?
        .goal("≤ 100 ms"),
        figure(
            "siege_bus_p99_ms",
            "ms",
            seen.bus_ms,
            "From asking the bus for its own id to the reply, 99th percentile: the share of the bus in the two before",
        )?,
        figure(
            "siege_watchdog_gap_ms",
            "ms",
            gap.as_secs_f64() * 1000.0,
            "Longest time in which the service manager got no sign of life, of which there is one a second",
        )?
        .goal("≤ 2000 ms"),
        figure(
            "siege_memory_mb",
            "MB",
            seen.most_mb - idle_mb,
            "Most memory, swapped included, beyond that of the idle daemon",
        )?
        .goal("≤ 256 MB"),
        figure(
            "siege_right_answers",
            "",
            seen.asked.right(),
            "Share of right ones among the answers to one client, who asks every 3 s",
        )?
        .goal("= 1"),
        figure(
            "siege_busy",
            "",
            seen.asked.busy(),
            "Share of this client's calls that were refused as `Busy` and made again later",
        )?,
        figure(
            "siege_recovered",
            "",
            flag(recovered),
            "Whether the question is answered right within 30 s afterwards",
        )?
        .goal("= 1"),
    ])
}

fn keep_log(daemon: &Daemon) -> Result<()> {
    let file = root().join("target/siege.log");
    std::fs::write(&file, daemon.log())?;
    say::warning(&format!("its log is in {}", file.display()));
    Ok(())
}

/// The robot's catalogue. Stopping and moving run a program; the speed has to be confirmed.
fn catalogue(folder: &Path) -> Result<()> {
    let robot = root().join("configs/commands/robot.toml");
    let text = std::fs::read_to_string(&robot)
        .with_context(|| format!("cannot read {}", robot.display()))?;
    let add = |text: String, command: &str, line: &str| {
        let head = format!("[commands.{command}]\n");
        text.replace(&head, &format!("{head}{line}\n"))
    };
    let text = add(text, "stop", r#"action.program = { run = ["/bin/true"] }"#);
    let text = add(
        text,
        "move",
        r#"action.program = { run = ["/bin/sleep", "1"] }"#,
    );
    let text = add(text, "set_speed", "confirm = true");
    let file = folder.join("robot.toml");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
