//! The sandbox of the unit, as rated by systemd and as seen from the process.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::{checklist::Checklist, machine::Machine, unit};

/// Maximum exposure in systemd's rating, in tenths.
const THRESHOLD: &str = "--threshold=15";

pub async fn checks(list: &mut Checklist, machine: &Machine) {
    list.check("systemd finds nothing wrong with the unit", async {
        // A system this small has no manual pages.
        let verify = ["systemd-analyze", "verify", "--man=no", unit::UNIT];
        let said = machine.run(&verify).await?;
        ensure!(
            said.code == Some(0) && said.stderr.is_empty(),
            "{}",
            said.stderr
        );
        Ok(())
    })
    .await;
    list.check("systemd sees an exposure of 1.5 at most", async {
        let words = [
            "systemd-analyze",
            "security",
            "--no-pager",
            THRESHOLD,
            unit::UNIT,
        ];
        let judged = machine.run(&words).await?;
        ensure!(judged.code == Some(0), "{}", judged.stdout);
        let overall = judged.stdout.lines().find(|line| line.contains("Overall"));
        let overall = overall.and_then(|line| line.split(": ").nth(1));
        Ok(overall.context("it does not say how much")?.to_owned())
    })
    .await;
    list.check("the process is nobody special, with no rights", async {
        let status = unit::process_file(machine, "status").await?;
        for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            ensure!(status.contains(line), "`{line}` is not in its status");
        }
        ensure!(!status.contains("Uid:\t0"), "it runs as root");
        Ok(())
    })
    .await;
    list.check(
        "it has a network of its own without anything in it",
        async {
            let own = namespace(machine, &unit::process(machine).await?).await?;
            ensure!(
                own != namespace(machine, "1").await?,
                "it has the system's network"
            );
            Ok(())
        },
    )
    .await;
    list.check(
        "it sees no home folders, and writes nowhere but to its own",
        async {
            let process = unit::process(machine).await?;
            let inside = ["nsenter", "--target", &process, "--mount", "--"];
            for words in [
                &["ls", "/home/ada"][..],
                &["touch", "/usr/new"],
                &["touch", "/etc/new"],
            ] {
                let done = machine.run(&[&inside, words].concat()).await?;
                ensure!(done.code != Some(0), "`{}` works in it", words.join(" "));
            }
            let own = ["touch", "/var/lib/gemmad/new"];
            machine.succeed(&[&inside, &own[..]].concat()).await?;
            Ok(())
        },
    )
    .await;
    list.check("it may open a sound card", opens_sound_cards(machine))
        .await;
    list.check("it computes with what this processor has", backend(machine))
        .await;
    list.check("idle it has few threads and descriptors", size(machine))
        .await;
}

/// The CPU backend that ggml has loaded.
pub async fn backend(machine: &Machine) -> Result<String> {
    let maps = unit::process_file(machine, "maps").await?;
    let backend = maps
        .lines()
        .find_map(|line| line.split("/usr/lib/gemmad/libggml-cpu").nth(1));
    let backend = backend.context("no CPU backend of the package is loaded")?;
    Ok(format!("libggml-cpu{backend}"))
}

/// The network namespace of a process.
async fn namespace(machine: &Machine, process: &str) -> Result<String> {
    let link = format!("/proc/{process}/ns/net");
    machine.succeed(&["readlink", &link]).await
}

async fn size(machine: &Machine) -> Result<String> {
    let status = unit::process_file(machine, "status").await?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let words = line.and_then(|line| line.split_once(':'));
        words.map_or("?", |(_, words)| words.trim()).to_owned()
    };
    Ok(format!(
        "{} threads, {} resident, of them {} of its own",
        field("Threads"),
        field("VmRSS"),
        field("RssAnon")
    ))
}

/// A device file with a number of ALSA, for which the kernel has no driver.
const CARD: &str = "/dev/snd/card";

/// Opens that card in a unit with the same sandbox. The kernel says that the device does not exist only to
/// processes that may open it.
async fn opens_sound_cards(machine: &Machine) -> Result<()> {
    let card = machine.living_path(CARD);
    fs::create_dir_all(card.with_file_name(""))?;
    let (mode, alsa) = (Mode::from_raw_mode(0o660), makedev(116, 0));
    mknodat(CWD, &card, FileType::CharacterDevice, mode, alsa)?;
    machine.succeed(&["chown", "root:audio", CARD]).await?;
    machine.succeed(&["chmod", "660", CARD]).await?;

    let unit = fs::read_to_string(machine.path("/usr/lib/systemd/system/gemmad.service"))?;
    let unit = unit
        .replace(
            "ExecStart=/usr/bin/gemmad",
            &format!("ExecStart=cat {CARD}"),
        )
        .replace("Restart=on-failure", "Restart=no")
        .replace("BusName=org.gemmad1", "");
    fs::write(
        machine.living_path("/run/systemd/system/card.service"),
        unit,
    )?;
    machine.succeed(&["systemctl", "daemon-reload"]).await?;
    // The unit fails, because the card does not exist.
    machine.run(&["systemctl", "start", "card.service"]).await?;
    let said = machine
        .succeed(&["journalctl", "--unit", "card.service"])
        .await?;
    ensure!(said.contains("No such device"), "{said}");
    Ok(())
}
