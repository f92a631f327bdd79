//! What a voice assistant feels like: how soon it answers, how soon it stops when somebody speaks over it, what it
//! costs while nobody does, and whether it hears again after its microphone was gone.

pub mod answer;
pub mod barge_in;
pub mod idle;
pub mod replug;

use std::time::Duration;

use gemmad_testbed::{Echo, speech};

use super::{Bench, Figure};

/// How a microphone 30 cm from the loudspeaker hears it in a living room: some 10 dB quieter than what is played, and
/// with the room.
const ECHO: Echo = Echo {
    delay: Duration::from_millis(60),
    gain: 0.3,
    reverberation: Duration::from_millis(300),
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// Root mean square of each 10 ms.
fn levels(sound: &[f32]) -> impl Iterator<Item = f32> {
    sound.chunks(speech::RATE as usize / 100).map(|piece| {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let count = piece.len() as f32;
        (piece.iter().map(|it| it * it).sum::<f32>() / count).sqrt()
    })
}

/// From where on a sound is within 20 dB of its loudest 10 ms: what somebody far away would call its beginning.
fn onset(sound: &[f32]) -> Duration {
    let levels: Vec<f32> = levels(sound).collect();
    let loudest = levels.iter().copied().fold(0.0, f32::max);
    let first = levels.iter().position(|level| *level > 0.1 * loudest);
    Duration::from_millis(10) * u32::try_from(first.unwrap_or(0)).unwrap_or(0)
}
