//! Permissions under the policy of the system bus as it is installed.

use std::{path::Path, time::Duration};

use gemmad_testbed::{Bus, Daemon};
use rustix::process::{getgid, getuid};
use tempfile::TempDir;

use crate::{ANSWER, QUESTION, gemmactl::Gemmactl};

/// A bus with the installed policy, in which this user stands for `gemmad`, who owns the name, `nobody` for root, and
/// `group` for the group of the members.
async fn bus(group: &str) -> (Bus, TempDir) {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/org.gemmad1.conf");
    let policy = std::fs::read_to_string(installed).unwrap();
    let me = format!("user=\"{}\"", getuid().as_raw());
    let policy = policy
        .replace("user=\"root\"", "user=\"65534\"")
        .replace("user=\"gemmad\"", &me)
        .replace("group=\"gemmad\"", &format!("group=\"{group}\""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("org.gemmad1.conf");
    std::fs::write(&file, policy).unwrap();
    let rules = format!("<include>{}</include>", file.display());
    (Bus::start_with(&rules).await.unwrap(), folder)
}

fn gemmactl(bus: &Bus, arguments: &[&str]) -> Gemmactl {
    let binaries = gemmad_testbed::Binaries::of_this_build().unwrap();
    let mut command = std::process::Command::new(binaries.path("gemmactl").unwrap());
    command.envs(bus.env());
    Gemmactl::of(command, arguments)
}

#[tokio::test]
async fn a_user_outside_the_group_is_told_how_to_get_in() {
    let (bus, _folder) = bus("nogroup").await;
    let owner = bus.connect(Duration::from_secs(5)).await.unwrap();
    owner.request_name("org.gemmad1").await.unwrap();
    for arguments in [
        &["status"][..],
        &["ask", QUESTION],
        &["listen"],
        &["listen", "--once"],
        &["mute"],
        &["reload"],
    ] {
        let refused = gemmactl(&bus, arguments).end().await;
        assert_eq!((refused.code, &*refused.stdout), (Some(4), ""));
        let told = &refused.stderr;
        assert!(told.contains("members of the group gemmad"), "{told}");
        assert!(told.contains("`sudo adduser "), "{told}");
        assert!(!told.contains("matched rules"), "{told}");
    }
}

#[tokio::test]
async fn a_member_of_the_group_asks_and_is_answered() {
    let group = getgid().as_raw().to_string();
    let (bus, _folder) = bus(&group).await;
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let asked = gemmactl(&bus, &["ask", QUESTION]).end().await;
    assert_eq!(
        (asked.code, &*asked.stdout),
        (Some(0), ANSWER.as_str()),
        "{asked:?}"
    );
    assert!(daemon.stop().await.unwrap().success());
}
