//! Machines of another architecture: qemu runs their programs, each as a process of this machine's kernel,
//! which starts qemu for them by itself (`binfmt_misc`).
//!
//! Emulation is slow and has limits: qemu does not support seccomp, its programs cannot gain rights (as with
//! `sudo`), and figures are those of the emulator. But qemu can emulate a given processor, and so shows which
//! CPU backend ggml chooses on it.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Result, ensure};
use gemmad_testbed::nano::QUESTION;
use xtask::{architecture::Architecture, command::execute, say, setup};

use crate::{checklist::Checklist, machine::Machine, printed::is_answer, sandbox, unit};

/// The kernel's table of interpreters for foreign programs.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Processors by their names in qemu, the boards that have them, and the best backend for each.
const PROCESSORS: [(&str, &str, &str); 3] = [
    ("cortex-a72", "Raspberry Pi 4", "armv8.0_1"),
    // The Jetson Orin's Cortex-A78AE, which qemu does not know, has the same instructions.
    ("cortex-a76", "Raspberry Pi 5", "armv8.2_2"),
    ("max", "everything that qemu knows", "armv8.6_2"),
];

/// Lets this machine run programs for `arch`.
pub fn prepare(arch: Architecture) -> Result<()> {
    ensure!(
        arch == Architecture::Arm64,
        "only arm64 is emulated, on amd64"
    );
    setup::emulating()?;
    let known = Path::new(BINFMT).join("qemu-aarch64");
    if known.exists() {
        return Ok(());
    }
    say::step("Telling the kernel that qemu runs programs for arm64");
    if !Path::new(BINFMT).join("register").exists() {
        execute(Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", BINFMT]))?;
    }
    if !known.exists() {
        let rule = "/usr/lib/binfmt.d/qemu-aarch64.conf";
        execute(Command::new("/usr/lib/systemd/systemd-binfmt").arg(rule))?;
    }
    Ok(())
}

/// Settings that disable what systemd cannot do for a unit under qemu: pass credentials, of which there are none, and
/// private namespaces for network, IPC and users.
const WITHOUT: &str = "[Service]
LoadCredential=
PrivateNetwork=no
PrivateIPC=no
PrivateUsers=no
";

/// The service manager of a user. Under qemu it gets only as far as its first socket; every login would wait for it.
const USERS_MANAGER: &str = "etc/systemd/system/user@.service";

/// Applies these settings to the system in the folder `root`, and masks the users' service managers.
pub fn adapt(root: &Path) -> Result<()> {
    symlink("/dev/null", root.join(USERS_MANAGER))?;
    // For every service.
    let folder = root.join("etc/systemd/system/service.d");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("emulated.conf"), WITHOUT)?;
    Ok(())
}

/// Runs the daemon on one processor after the other.
pub async fn checks(list: &mut Checklist, machine: &Machine) {
    for (processor, where_it_is, backend) in PROCESSORS {
        let what = format!("{processor} ({where_it_is}) computes with {backend}");
        list.check(&what, async {
            become_one(machine, processor).await?;
            let loaded = sandbox::backend(machine).await?;
            ensure!(
                loaded == format!("libggml-cpu-{backend}.so"),
                "it computes with {loaded}"
            );
            let ask = ["gemmactl", "ask", "--temperature", "0", QUESTION];
            is_answer(&machine.succeed(&ask).await?)
        })
        .await;
    }
}

/// Restarts the daemon on an emulated `processor`.
async fn become_one(machine: &Machine, processor: &str) -> Result<()> {
    let folder = machine.living_path("/run/systemd/system/gemmad.service.d");
    fs::create_dir_all(&folder)?;
    let text = format!("[Service]\nEnvironment=QEMU_CPU={processor}\n");
    fs::write(folder.join("processor.conf"), text)?;
    machine.succeed(&["systemctl", "daemon-reload"]).await?;
    unit::act(machine, "restart").await
}
