//! `gemmactl mute`, `unmute` and `stop`.

use gemmad_api::VoiceProxy;

use crate::{bus::Way, failure::Failure};

/// Closes or opens the microphone.
pub async fn set_muted(muted: bool, way: &Way) -> Result<(), Failure> {
    let voice = VoiceProxy::new(&way.connect().await?).await?;
    Ok(voice.set_muted(muted).await?)
}

/// Drops the utterance being heard, cancels spoken answers, and stops speaking.
pub async fn stop(way: &Way) -> Result<(), Failure> {
    let voice = VoiceProxy::new(&way.connect().await?).await?;
    Ok(voice.stop().await?)
}
