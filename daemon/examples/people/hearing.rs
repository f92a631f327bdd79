//! The utterances in a recording.

use gemmad::config;
use gemmad::listen::{Segment, Segmenter};
use gemmad::sound::SAMPLE_RATE;

const RATE: usize = SAMPLE_RATE as usize;

/// Silence before and behind the recording, in samples: 1 s and 2 s.
const BEFORE: usize = RATE;
const BEHIND: usize = 2 * RATE;

/// Samples whose level is one, 10 ms, and how far below the loudest of a recording speech begins, in dB. Chosen by hand.
const FRAME: usize = RATE / 100;
const QUIETEST: f32 = 25.0;

/// The utterances in a recording.
pub struct Heard {
    pub utterances: Vec<Vec<f32>>,
    /// How long after the first loud sound the first utterance begins, in ms, if it does so later.
    pub late_ms: Option<usize>,
}

impl Heard {
    pub fn of(config: &config::Voice, recording: &[f32]) -> Self {
        let sound = [&vec![0.0; BEFORE], recording, &vec![0.0; BEHIND]].concat();
        let mut segmenter = Segmenter::new(config);
        let mut heard = Self {
            utterances: Vec::new(),
            late_ms: None,
        };
        for (nth, piece) in sound.chunks(256).enumerate() {
            for segment in segmenter.push(piece) {
                match segment {
                    Segment::Started { .. } => heard.utterances.push(Vec::new()),
                    Segment::Sound(samples) => {
                        if heard.utterances == [Vec::<f32>::new()] {
                            let begin = (nth * 256 + piece.len()).saturating_sub(samples.len());
                            let loud = BEFORE + first_loud(recording);
                            heard.late_ms = begin
                                .checked_sub(loud)
                                .filter(|late| *late > 0)
                                .map(|late| late * 1000 / RATE);
                        }
                        if let Some(utterance) = heard.utterances.last_mut() {
                            utterance.extend(samples);
                        }
                    }
                    Segment::Ended { .. } | Segment::Paused { .. } | Segment::Resumed => {}
                }
            }
        }
        heard
    }
}

/// The sample at which the recording becomes loud.
fn first_loud(recording: &[f32]) -> usize {
    let power = |frame: &[f32]| frame.iter().map(|it| it * it).sum::<f32>() / frame.len() as f32;
    let levels = recording.chunks(FRAME).map(power);
    let loudest = levels.clone().fold(0.0, f32::max);
    let threshold = loudest * 10_f32.powf(-QUIETEST / 10.0);
    let first = levels.enumerate().find(|(_, level)| *level >= threshold);
    first.map_or(0, |(nth, _)| nth * FRAME)
}
