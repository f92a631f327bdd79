//! Barge-in without devices, for the simulation of rooms in `examples/double_talk`.

use super::barge_in::{Guess, Interruption};
use super::double_talk::DoubleTalk;
use super::echo::{Canceller, Cleaned};
pub use super::thresholds::Thresholds;
use super::vad::FRAME;
use crate::sound::playback::FarEnd;
use crate::sound::resample::{RATE, samples};

/// Length of the pieces in which a loudspeaker takes sound, in ms, as in `sound/playback.rs`. A microphone gives pieces
/// of 16 ms (`sound/capture.rs`), which are [`FRAME`].
const PLAYED_MS: u32 = 10;

/// What a microphone captured beside a loudspeaker, after echo cancellation.
pub struct Recording {
    pieces: Vec<Piece>,
}

/// The sound of one frame.
struct Piece {
    sound: Cleaned,
    /// Whether the canceller knows the room by then.
    knows_room: bool,
}

impl Recording {
    /// Cancels the echo of `played` in `captured`, both 16 kHz mono and from the same moment on.
    #[must_use]
    pub fn new(played: &[f32], captured: &[f32]) -> Self {
        let (mut loudspeaker, far_end) = FarEnd::without_device(RATE);
        let mut canceller = Canceller::new(far_end);
        let mut played = played.chunks(samples(PLAYED_MS));
        let (mut now, mut taken) = (0, 0);
        let pieces = captured.chunks(FRAME).map(|captured| {
            now += captured.len();
            while taken + samples(PLAYED_MS) <= now {
                taken += samples(PLAYED_MS);
                for sample in played.next().unwrap_or_default() {
                    // The ring holds seconds of sound, and the canceller empties it below.
                    let _ = loudspeaker.push(*sample);
                }
            }
            let mut sound = Cleaned::default();
            canceller.clean(captured, &mut sound);
            Piece {
                sound,
                knows_room: canceller.knows_room(),
            }
        });
        Self {
            pieces: pieces.collect(),
        }
    }

    /// Where the canceller begins to know the room, in samples.
    #[must_use]
    pub fn known_from(&self) -> Option<usize> {
        self.positions(|piece| piece.knows_room).first().copied()
    }

    /// Where the assistant would pause because a person seems to speak, in samples. The sound goes on all the same.
    #[must_use]
    pub fn guesses(&self, thresholds: Thresholds) -> Vec<usize> {
        let mut interruption = Interruption::with(thresholds);
        self.positions(|piece| {
            interruption.hear(&piece.sound, |_| piece.knows_room) == Some(Guess::Somebody)
        })
    }

    /// The frames in which the double-talk detector finds a person, by their ends in samples; also before the
    /// room is known.
    #[must_use]
    pub fn double_talk(&self, thresholds: Thresholds) -> Vec<usize> {
        let mut double_talk = DoubleTalk::new(thresholds);
        self.positions(|Piece { sound, .. }| {
            let (captured, _) = sound.captured.as_chunks();
            let (linear, _) = sound.linear.as_chunks();
            let frames = captured.iter().zip(linear);
            frames.fold(false, |is_somebody, (captured, linear)| {
                is_somebody | double_talk.hear(captured, linear)
            })
        })
    }

    /// The ends of the pieces, in samples, for which this is true.
    fn positions(&self, mut is: impl FnMut(&Piece) -> bool) -> Vec<usize> {
        let mut end = 0;
        let pieces = self.pieces.iter().filter_map(|piece| {
            end += piece.sound.captured.len();
            is(piece).then_some(end)
        });
        pieces.collect()
    }
}
