//! Echo cancellation: removes the assistant's voice from the microphone's sound, so that a person can be heard over it.
//!
//! It is WebRTC's AEC3 from the crate `sonora-aec3`, block by block: `sonora` as a whole does not expose the linear
//! filter's output, which the model is to hear. The suppressor removes the rest of the echo and much of a person's
//! voice with it, which a model understands worse than a quiet echo. But nothing shows better whether a person speaks.

use std::collections::VecDeque;

use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::common::BLOCK_SIZE as BLOCK;
use sonora_aec3::config::EchoCanceller3Config;

use crate::sound::playback::FarEnd;
use crate::sound::resample::{RATE, Resampler, samples};

/// AEC3 counts samples as 16-bit converters do.
const FULL_SCALE: f32 = 32_768.0;

/// Magnitude from which a sample may have been clipped, as in WebRTC (`detect_saturation` in sonora's
/// `echo_canceller3.rs`).
const CLIPPED: f32 = 32_700.0 / FULL_SCALE;

/// Magnitude up to which a played sample is inaudible (-80 dBFS): a fade never quite ends. Three steps of a 16-bit
/// converter; chosen by hand.
const AUDIBLE: f32 = 1e-4;

/// Longest echo after the last audible sample, in ms: the longest delay that AEC3 finds, 512 ms, and about as much
/// reverberation. AEC3 looks for the delay with `num_filters` (5) filters of 32 blocks, 24 blocks apart
/// (`sonora_aec3::common`).
const ECHO_MS: u32 = 1000;

/// Audible sound that must be played before AEC3 knows the room, in ms. The double-talk detector, which needs 1.2 s
/// itself, had no false alarm in the first 10 s of 72 simulated speeches (`examples/double_talk`).
const LEARNING_MS: u32 = 1500;

/// Maximum lead of the played signal over the captured one, in ms. More means the microphone dropped samples or its
/// clock runs slow. It leaves two thirds of the 512 ms in which AEC3 finds an echo to the devices; chosen by hand.
const AHEAD_MS: u32 = 150;

/// Interval at which the lead is checked, in ms, and the lead kept after a correction in case the loudspeaker is late:
/// three of its periods. Both are chosen by hand.
const LOOK_MS: u32 = 2000;
const MARGIN_MS: u32 = 30;

/// Longest wait of captured sound for the sound played meanwhile, in ms: a busy machine asks for the next sound that
/// late. Pairing captured sound with silence instead would change the echo path. Six of the loudspeaker's periods,
/// chosen by hand; with it, 10 minutes of speech on a busy machine had one false alarm (`self_pauses_busy`).
const LATE_MS: u32 = 60;

/// Initial lead of the played signal, in ms: the loudspeaker's period (`sound/playback.rs`), so that one callback that
/// is late by its own length does not stall cancellation. The echo comes later than that: both devices hold two
/// periods.
const HEADWAY_MS: u32 = 10;

/// One stretch of sound, 16 kHz mono, with the echo and without; all of the same length.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// As it was captured.
    pub captured: Vec<f32>,
    /// Without the echo that the linear filter predicts: for the model.
    pub linear: Vec<f32>,
    /// Without all that may be echo: for voice activity detection.
    pub suppressed: Vec<f32>,
}

impl Cleaned {
    pub fn clear(&mut self) {
        self.captured.clear();
        self.linear.clear();
        self.suppressed.clear();
    }

    /// Appends the stretch that follows.
    pub fn append(&mut self, next: &Self) {
        self.captured.extend_from_slice(&next.captured);
        self.linear.extend_from_slice(&next.linear);
        self.suppressed.extend_from_slice(&next.suppressed);
    }

    /// All but the first `samples`.
    pub fn after(&self, samples: usize) -> Self {
        Self {
            captured: self.captured[samples..].into(),
            linear: self.linear[samples..].into(),
            suppressed: self.suppressed[samples..].into(),
        }
    }

    /// Appends sound without echo.
    pub fn take(&mut self, sound: &[f32]) {
        self.captured.extend_from_slice(sound);
        self.linear.extend_from_slice(sound);
        self.suppressed.extend_from_slice(sound);
    }
}

/// The echo canceller between one loudspeaker and one microphone, from when both are open.
///
/// Both move as many samples in the same time, so each captured block is paired with the next one played. AEC3 then has
/// to find the delay of the echo only once.
pub struct Canceller {
    far_end: FarEnd,
    resampler: Resampler,
    /// Played samples, at the loudspeaker's rate.
    raw: Vec<f32>,
    /// Played samples at 16 kHz, not paired yet.
    played: VecDeque<f32>,
    resampled: Vec<f32>,
    /// Captured samples not paired yet.
    captured: Vec<f32>,
    /// Samples since anything audible was played.
    silence: usize,
    /// Audible samples played since the echo path changed.
    learned: usize,
    /// Underruns of the loudspeaker so far.
    overruns: u64,
    /// The fewest samples waiting in `played` since the last check, and the samples captured since then.
    least: usize,
    looked: usize,
    processor: BlockProcessor,
    render: Block,
    capture: Block,
    linear: Block,
}

impl Canceller {
    pub fn new(far_end: FarEnd) -> Self {
        let mut canceller = Self {
            resampler: Resampler::new(far_end.rate, 1),
            far_end,
            raw: Vec::new(),
            played: VecDeque::new(),
            resampled: Vec::new(),
            captured: Vec::new(),
            silence: samples(ECHO_MS),
            learned: 0,
            overruns: 0,
            least: usize::MAX,
            looked: 0,
            processor: processor(),
            render: Block::new(1, 1),
            capture: Block::new(1, 1),
            linear: Block::new(1, 1),
        };
        canceller.restart();
        canceller
    }

    /// Forgets everything, because the microphone is another one, or was reopened.
    pub fn restart(&mut self) {
        self.raw.clear();
        self.far_end.read(&mut self.raw);
        self.resampler = Resampler::new(self.far_end.rate, 1);
        self.played.clear();
        self.played.resize(samples(HEADWAY_MS), 0.0);
        self.captured.clear();
        self.learned = 0;
        self.least = usize::MAX;
        self.looked = 0;
        self.processor = processor();
    }

    /// Learns the delay of the echo anew, because one of the devices lost sound.
    pub fn lose_track(&mut self) {
        self.learned = 0;
    }

    /// Whether the residual echo can be told from a person who speaks over it.
    pub fn knows_room(&self) -> bool {
        self.learned >= samples(LEARNING_MS)
    }

    /// Whether the loudspeaker was closed.
    pub fn is_over(&self) -> bool {
        self.far_end.is_over()
    }

    /// Pauses the loudspeaker in the middle of a word, or resumes it.
    pub fn hold(&self, is_held: bool) {
        self.far_end.hold(is_held);
    }

    /// Removes the echo from the next samples of the microphone. Samples that fill no block of 4 ms wait for the next
    /// call. So do, for up to [`LATE_MS`], samples whose counterparts the loudspeaker has not delivered yet.
    pub fn clean(&mut self, sound: &[f32], cleaned: &mut Cleaned) {
        self.listen_to_loudspeaker();
        self.captured.extend_from_slice(sound);
        let captured = std::mem::take(&mut self.captured);
        let mut rest = captured.as_slice();
        while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
            if self.played.len() < BLOCK && self.waits_for_loudspeaker(rest.len()) {
                break;
            }
            self.clean_block(block, cleaned);
            rest = after;
        }
        self.captured.extend_from_slice(rest);
        self.keep_up(sound.len());
    }

    /// Whether `captured` samples wait for a late loudspeaker. Until the room is known they never do: its delay is
    /// still being learned.
    fn waits_for_loudspeaker(&mut self, captured: usize) -> bool {
        if !self.knows_room() {
            return false;
        }
        if captured < samples(LATE_MS) {
            return true;
        }
        log::debug!("the loudspeaker is late: relearning the echo");
        self.lose_track();
        false
    }

    fn listen_to_loudspeaker(&mut self) {
        let overruns = self.far_end.overruns();
        if std::mem::replace(&mut self.overruns, overruns) != overruns {
            self.lose_track();
        }
        self.raw.clear();
        self.far_end.read(&mut self.raw);
        self.resampled.clear();
        self.resampler.push(&self.raw, &mut self.resampled);
        self.played.extend(&self.resampled);
    }

    fn clean_block(&mut self, block: &[f32; BLOCK], cleaned: &mut Cleaned) {
        // Where the loudspeaker is too late, silence takes the place of its sound, which then stays that much later.
        let played = self.played.len().min(BLOCK);
        let mut is_audible = false;
        let render = self.render.view_mut(0, 0);
        render.fill(0.0);
        for (sample, played) in render.iter_mut().zip(self.played.drain(..played)) {
            is_audible |= played.abs() > AUDIBLE;
            *sample = played * FULL_SCALE;
        }
        self.least = self.least.min(self.played.len());
        if is_audible {
            self.silence = 0;
            self.learned += BLOCK;
        } else {
            self.silence += BLOCK;
        }
        if self.silence > samples(ECHO_MS) {
            return cleaned.take(block);
        }
        let is_clipped = block.iter().any(|sample| sample.abs() >= CLIPPED);
        for (sample, captured) in self.capture.view_mut(0, 0).iter_mut().zip(block) {
            *sample = captured * FULL_SCALE;
        }
        // AEC3 gives no linear output before it has found the echo.
        let captured = self.capture.view(0, 0);
        self.linear.view_mut(0, 0).copy_from_slice(captured);
        self.processor.buffer_render(&self.render);
        self.processor.process_capture(
            false,
            is_clipped,
            Some(&mut self.linear),
            &mut self.capture,
        );
        let scaled = |block: &Block, output: &mut Vec<f32>| {
            output.extend(block.view(0, 0).iter().map(|sample| sample / FULL_SCALE));
        };
        cleaned.captured.extend_from_slice(block);
        scaled(&self.linear, &mut cleaned.linear);
        scaled(&self.capture, &mut cleaned.suppressed);
    }

    /// Cuts a lead of the played signal beyond [`AHEAD_MS`] to [`MARGIN_MS`].
    fn keep_up(&mut self, captured: usize) {
        self.looked += captured;
        if self.looked < samples(LOOK_MS) {
            return;
        }
        self.looked = 0;
        let least = std::mem::replace(&mut self.least, usize::MAX);
        if least != usize::MAX && least > samples(AHEAD_MS) {
            log::debug!(ms = least * 1000 / RATE as usize; "the loudspeaker is ahead: relearning the echo");
            let excess = least - samples(MARGIN_MS);
            self.played.drain(..excess.min(self.played.len()));
            self.lose_track();
        }
    }
}

fn processor() -> BlockProcessor {
    let mut config = EchoCanceller3Config::default();
    config.filter.export_linear_aec_output = true;
    BlockProcessor::new(&config, RATE as usize, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::testing::{lost_sound, noise};

    #[test]
    fn the_room_is_known_after_a_while_and_again_after_sound_was_lost() {
        let (mut loudspeaker, far_end) = FarEnd::without_device(RATE);
        let mut on_error = far_end.on_error();
        let mut canceller = Canceller::new(far_end);
        let mut hear = |canceller: &mut Canceller, ms: usize| {
            let mut cleaned = Cleaned::default();
            for piece in noise(0.1, ms).chunks(BLOCK) {
                for sample in piece {
                    loudspeaker.push(*sample).unwrap();
                }
                canceller.clean(piece, &mut cleaned);
            }
            canceller.knows_room()
        };
        assert!(!hear(&mut canceller, 1000));
        assert!(hear(&mut canceller, 1000));
        on_error(lost_sound());
        assert!(!hear(&mut canceller, 1000));
        assert!(hear(&mut canceller, 1000));
        canceller.lose_track();
        assert!(!canceller.knows_room());
    }

    /// A canceller that knows its room, and our end of its loudspeaker.
    fn acquainted() -> (rtrb::Producer<f32>, Canceller) {
        let (mut loudspeaker, far_end) = FarEnd::without_device(RATE);
        let mut canceller = Canceller::new(far_end);
        for piece in noise(0.1, 2000).chunks(BLOCK) {
            for sample in piece {
                loudspeaker.push(*sample).unwrap();
            }
            canceller.clean(piece, &mut Cleaned::default());
        }
        assert!(canceller.knows_room());
        (loudspeaker, canceller)
    }

    #[test]
    fn what_is_captured_waits_for_a_loudspeaker_that_is_a_little_late() {
        let (mut loudspeaker, mut canceller) = acquainted();
        let mut cleaned = Cleaned::default();
        let captured = noise(0.1, 40);
        canceller.clean(&captured, &mut cleaned);
        assert_eq!(cleaned.captured.len(), samples(HEADWAY_MS) / BLOCK * BLOCK);
        for sample in noise(0.1, 48) {
            loudspeaker.push(sample).unwrap();
        }
        canceller.clean(&noise(0.1, 4), &mut cleaned);
        assert_eq!(cleaned.captured[..captured.len()], captured);
        assert!(canceller.knows_room());
    }

    #[test]
    fn what_is_captured_does_not_wait_for_a_loudspeaker_that_is_gone() {
        let (_loudspeaker, mut canceller) = acquainted();
        let mut cleaned = Cleaned::default();
        for piece in noise(0.1, 120).chunks(2 * BLOCK) {
            canceller.clean(piece, &mut cleaned);
        }
        assert_eq!(cleaned.captured.len(), samples(120));
        assert!(!canceller.knows_room());
    }
}
