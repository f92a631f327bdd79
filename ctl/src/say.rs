//! `gemmactl say`: text for the loudspeaker.

use gemmad_api::{SayOptions, VoiceProxy};

use crate::{
    args::{Bus, Say},
    bus,
    failure::Failure,
    question,
};

/// Says it, and waits until it was heard. Dropped before, it leaves the bus, at which the daemon falls silent.
pub async fn run(options: Say, bus: Bus) -> Result<(), Failure> {
    let is_piped = options.text.is_empty() || options.text == ["-"];
    let text = if is_piped {
        question::read(&options.text).await?
    } else {
        options.text.join(" ")
    };
    let voice = VoiceProxy::new(&bus::connect(bus).await?).await?;
    let options = SayOptions {
        voice: options.voice,
        volume: options.volume,
    };
    Ok(voice.say(&text, options).await?)
}
