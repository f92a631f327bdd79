//! A microphone of the system, and speaking into it from outside.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use gemmad_api::{VoiceProxy, VoiceState};
use gemmad_testbed::{Microphone, speech};
use tokio::{process::Command, time::timeout};
use zbus::Connection;

use super::{COMMAND, machine::Machine};

/// Longest wait for the daemon to listen, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a microphone in the system's folder `inside`, and ALSA's default of it in the system's file
/// `configuration`.
pub fn plug_in(machine: &Machine, inside: &str, configuration: &str) -> Result<Microphone> {
    let folder = machine.path(inside);
    fs::create_dir_all(&folder)?;
    let microphone = Microphone::alsa_in(&folder, Path::new(inside))?;
    fs::copy(folder.join("asound.conf"), machine.path(configuration))
        .context("cannot configure ALSA")?;
    Ok(microphone)
}

/// Starts `listen`, which is `gemmactl listen --once`, says the command when the daemon on `bus` listens,
/// and checks the answer.
pub async fn listen_once(
    mut listen: Command,
    bus: &Connection,
    microphone: &Microphone,
) -> Result<String> {
    let voice = VoiceProxy::new(bus).await?;
    let listening = listen.spawn().context("cannot run gemmactl")?;
    let said = async {
        let mut states = voice.receive_state_changed().await;
        while voice.state().await? != VoiceState::Waiting {
            states.next().await;
        }
        let words = speech::say(COMMAND, "en-us")?;
        Ok::<_, anyhow::Error>(microphone.play(&words).await?)
    };
    let said = timeout(PATIENCE, said).await;
    said.context("the daemon did not begin to listen")??;
    let ended = timeout(PATIENCE, listening.wait_with_output()).await;
    let ended = ended.context("nothing was answered")??;
    let answer = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    let remarks = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        answer == super::ANSWER,
        "the answer is `{answer}`: {remarks}"
    );
    Ok(answer)
}
