//! A microphone in the system, and speech into it from outside.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use gemmad_testbed::{
    Microphone,
    nano::{ANSWER, QUESTION},
    speech,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::machine::Machine;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Makes a microphone in the system's folder `inside`, and makes it ALSA's default device with the system's
/// file `configuration`.
pub fn plug_in(machine: &Machine, inside: &str, configuration: &str) -> Result<Microphone> {
    let folder = machine.path(inside);
    fs::create_dir_all(&folder)?;
    let microphone = Microphone::alsa_in(&folder, Path::new(inside))?;
    fs::copy(folder.join("asound.conf"), machine.path(configuration))
        .context("cannot configure ALSA")?;
    Ok(microphone)
}

/// Starts `listen`, a `gemmactl listen --once`, plays the spoken command when the microphone is open, and
/// checks the answer.
pub async fn listen_once(mut listen: Command, microphone: &Microphone) -> Result<()> {
    let mut listening = listen.spawn().context("cannot run gemmactl")?;
    let remarks = listening.stderr.take().context("it has no remarks")?;
    let mut remarks = BufReader::new(remarks).lines();
    let mut said = String::new();
    let heard = async {
        while let Some(remark) = remarks.next_line().await? {
            if remark.starts_with("microphone: ") {
                let words = speech::say(QUESTION, "en-us")?;
                microphone.play(&words).await?;
            }
            said.push_str(&remark);
            said.push('\n');
        }
        anyhow::Ok(listening.wait_with_output().await?)
    };
    let ended = timeout(PATIENCE, heard).await;
    let ended = ended.with_context(|| format!("nothing was answered: {said}"))??;
    let answer = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    ensure!(answer == ANSWER, "the answer is `{answer}`: {said}");
    Ok(())
}
