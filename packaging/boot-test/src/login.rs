//! Users of the system, who log in over SSH, as on a machine without a screen: with PAM, a session, and
//! their own service manager.

use anyhow::{Result, ensure};
use gemmad_testbed::nano::QUESTION;
use tokio::process::Command;

use crate::{
    machine::{Machine, Ran, ran},
    printed::is_answer,
};

/// Path of the SSH key for all accounts.
const KEY: &str = "/root/key";

/// Makes the key.
pub async fn make_key(machine: &Machine) -> Result<()> {
    let options = ["-q", "-t", "ed25519", "-N", "", "-f", KEY];
    let words = [&["ssh-keygen"], &options[..]].concat();
    machine.succeed(&words).await.map(drop)
}

/// A user who can log in.
#[derive(Debug)]
pub struct Login<'a> {
    machine: &'a Machine,
    name: &'static str,
}

impl<'a> Login<'a> {
    /// Makes the account. The key must exist.
    pub async fn create(machine: &'a Machine, name: &'static str) -> Result<Self> {
        let folder = format!("/home/{name}/.ssh");
        let keys = format!("{folder}/authorized_keys");
        let public = format!("{KEY}.pub");
        let owner = ["-o", name, "-g", name];
        machine
            .succeed(&["useradd", "--create-home", "--shell", "/bin/bash", name])
            .await?;
        for words in [
            &["install", "-d", "-m", "700", &folder][..],
            &["install", "-m", "600", &public, &keys],
        ] {
            let (program, rest) = words.split_at(1);
            machine.succeed(&[program, &owner, rest].concat()).await?;
        }
        Ok(Self { machine, name })
    }

    /// Their name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A command that runs `line` in the user's shell, in a new login; not yet started.
    pub fn command(&self, line: &str) -> Command {
        let address = format!("{}@127.0.0.1", self.name);
        let mut words = vec!["ssh", "-i", KEY];
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "LogLevel=ERROR",
        ] {
            words.extend(["-o", option]);
        }
        words.extend([&address, line]);
        self.machine.command(&words)
    }

    /// Runs `line` in a new login, to its end.
    pub async fn run(&self, line: &str) -> Result<Ran> {
        ran(self.command(line)).await
    }

    /// Runs `line` in a new login, which must succeed; returns its standard output.
    pub async fn succeed(&self, line: &str) -> Result<String> {
        let ran = self.run(line).await?;
        ensure!(
            ran.code == Some(0),
            "{} ran `{line}`, which failed: {}{}",
            self.name,
            ran.stdout,
            ran.stderr
        );
        Ok(ran.stdout)
    }

    /// Asks the question as this user, and checks the daemon's answer.
    pub async fn is_answered(&self) -> Result<()> {
        is_answer(&self.succeed(&format!("gemmactl ask '{QUESTION}'")).await?)
    }
}
