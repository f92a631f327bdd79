//! `gemmactl say`: text for the loudspeaker.

use gemmad_api::{SayOptions, VoiceProxy};

use crate::{args::Say, bus::Way, failure::Failure, question};

/// Speaks the text, and waits until it has been played. Dropping it leaves the bus, and the daemon stops speaking.
pub async fn run(options: Say, way: &Way) -> Result<(), Failure> {
    let text = question::read(&options.text).await?;
    let voice = VoiceProxy::new(&way.connect().await?).await?;
    let options = SayOptions {
        voice: options.voice,
        volume: options.volume,
    };
    Ok(voice.say(&text, options).await?)
}
