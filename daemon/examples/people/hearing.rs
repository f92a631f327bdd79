//! The utterances in a recording.

use gemmad::config;
use gemmad::listen::{Segment, Segmenter};
use gemmad::sound::SAMPLE_RATE;

const RATE: usize = SAMPLE_RATE as usize;

/// Silence before and behind the recording, in samples: 1 s and 2 s.
const BEFORE: usize = RATE;
const BEHIND: usize = 2 * RATE;

/// Samples whose level is one, 10 ms; how far below the loudest of a recording speech may begin, and how far above its
/// noise it does, in dB. Chosen by hand.
const FRAME: usize = RATE / 100;
const QUIETEST: f32 = 25.0;
const ABOVE_NOISE: f32 = 10.0;

/// Speech begins where 8 of 10 levels in a row (100 ms) are loud: a click is shorter. Chosen by hand.
const SUSTAINED: usize = 10;
const MOST: usize = 8;

/// The noise of a recording is as loud as the loudest of the quietest tenth of its levels. Chosen by hand.
const NOISE: usize = 10;

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

/// The sample at which the recording becomes loud, and stays so.
fn first_loud(recording: &[f32]) -> usize {
    let power = |frame: &[f32]| frame.iter().map(|it| it * it).sum::<f32>() / frame.len() as f32;
    let levels: Vec<f32> = recording.chunks(FRAME).map(power).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let noise = sorted.get(levels.len() / NOISE);
    let loudest = sorted.last().copied().unwrap_or_default();
    let quietest = loudest * 10_f32.powf(-QUIETEST / 10.0);
    let above_noise = noise.copied().unwrap_or_default() * 10_f32.powf(ABOVE_NOISE / 10.0);
    let threshold = quietest.max(above_noise);
    let is_loud = |level: &&f32| **level >= threshold;
    let mut windows = levels.windows(SUSTAINED);
    let first = windows
        .position(|window| is_loud(&&window[0]) && window.iter().filter(is_loud).count() >= MOST);
    first.map_or(0, |nth| nth * FRAME)
}
