//! The voice assistant as its users experience it: latency of answers and of barge-in, cost while idle, and recovery
//! after its microphone was unplugged.

pub mod answer;
pub mod barge_in;
pub mod digits;
pub mod idle;
pub mod replug;

use std::time::Duration;

use gemmad_testbed::{Echo, speech};

/// Echo in a microphone 30 cm from the loudspeaker in a living room: about 10 dB quieter than the sound played, with
/// the room's reverberation.
const ECHO: Echo = Echo {
    delay: Duration::from_millis(60),
    gain: 0.3,
    reverberation: Duration::from_millis(300),
    overdrive: 0.0,
};

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_mins(1);

/// Root mean square of each piece of 10 ms.
fn levels(sound: &[f32]) -> impl Iterator<Item = f32> {
    sound.chunks(speech::RATE as usize / 100).map(|piece| {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let count = piece.len() as f32;
        (piece.iter().map(|it| it * it).sum::<f32>() / count).sqrt()
    })
}

/// Time of the first 10 ms within 20 dB of the loudest: where a sound begins for a distant listener.
fn onset(sound: &[f32]) -> Duration {
    let levels: Vec<f32> = levels(sound).collect();
    let loudest = levels.iter().copied().fold(0.0, f32::max);
    let first = levels.iter().position(|level| *level > 0.1 * loudest);
    Duration::from_millis(10) * u32::try_from(first.unwrap_or(0)).unwrap_or(0)
}
