//! `gemmactl mute`, `unmute` and `stop`.

use gemmad_api::VoiceProxy;

use crate::{args::Bus, bus, failure::Failure};

/// Closes or opens the microphone.
pub async fn set_muted(muted: bool, bus: Bus) -> Result<(), Failure> {
    let voice = VoiceProxy::new(&bus::connect(bus).await?).await?;
    Ok(voice.set_muted(muted).await?)
}

/// Drops what is being heard and answered.
pub async fn stop(bus: Bus) -> Result<(), Failure> {
    let voice = VoiceProxy::new(&bus::connect(bus).await?).await?;
    Ok(voice.stop().await?)
}
