//! Cuts the stream of sound into utterances: one stretch of speech each, with a little around it.
//!
//! No devices and no clocks: the same samples give the same utterances, however they are pushed.

use super::resample::samples;
use super::vad::{FRAME, Vad};
use crate::config;

/// Silence kept after the last speech of an utterance, so that the final consonant is not cut.
const TRAILING_MS: u32 = 200;

/// What the segmenter found.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// Somebody began to speak.
    Started,
    /// They stopped, or spoke for as long as an utterance may be.
    Ended {
        /// The utterance with its pre-roll, 16 kHz mono.
        samples: Vec<f32>,
        /// Where its last speech ended, in samples from the start of the stream.
        speech_end: u64,
    },
}

/// Finds the utterances in a stream of 16 kHz mono samples.
pub struct Segmenter {
    vad: Vad,
    /// Samples kept while nobody speaks: the pre-roll and the onset itself.
    keep: usize,
    /// Samples of silence that end an utterance.
    endpoint: usize,
    /// Samples kept of that silence.
    trailing: usize,
    /// Most samples in an utterance.
    longest: usize,
    /// Samples that do not fill a frame yet.
    frame: Vec<f32>,
    /// Samples in whole frames since the start of the stream.
    position: u64,
    /// The utterance being heard, or what may become its beginning.
    sound: Vec<f32>,
    /// While an utterance is being heard: samples of `sound` up to its last speech.
    speech: Option<usize>,
}

impl Segmenter {
    /// A segmenter at the start of a stream, with the thresholds and times of the configuration.
    #[must_use]
    pub fn new(config: &config::Voice) -> Self {
        let endpoint = samples(config.endpoint_ms.get());
        let longest = samples(config.longest_ms.get());
        Self {
            vad: Vad::new(config),
            keep: samples(config.pre_roll_ms.get() + config.onset_ms.get()).min(longest / 2),
            endpoint,
            trailing: samples(TRAILING_MS).min(endpoint),
            longest,
            frame: Vec::with_capacity(FRAME),
            position: 0,
            sound: Vec::new(),
            speech: None,
        }
    }

    /// Hears the next samples of the stream and returns what they complete, in order.
    pub fn push(&mut self, mut input: &[f32]) -> Vec<Segment> {
        let mut segments = Vec::new();
        while !input.is_empty() {
            let (taken, rest) = input.split_at(input.len().min(FRAME - self.frame.len()));
            self.frame.extend_from_slice(taken);
            input = rest;
            if let Ok(frame) = <[f32; FRAME]>::try_from(self.frame.as_slice()) {
                self.frame.clear();
                segments.extend(self.hear(&frame));
            }
        }
        segments
    }

    /// Passes over so many samples of the stream unheard, and forgets what came before them.
    pub fn skip(&mut self, samples: usize) {
        self.position += (self.frame.len() + samples) as u64;
        self.frame.clear();
        self.sound.clear();
        self.speech = None;
        self.vad.reset();
    }

    fn hear(&mut self, frame: &[f32; FRAME]) -> Option<Segment> {
        self.position += FRAME as u64;
        self.sound.extend_from_slice(frame);
        let is_speech = self.vad.hear(frame);
        let before = self.speech;
        if is_speech {
            self.speech = Some(self.sound.len());
        }
        let Some(speech) = self.speech else {
            self.sound
                .drain(..self.sound.len().saturating_sub(self.keep));
            return None;
        };
        if before.is_none() {
            return Some(Segment::Started);
        }
        let is_silent = self.sound.len() - speech >= self.endpoint;
        let is_full = self.sound.len() + FRAME > self.longest;
        (is_silent || is_full).then(|| self.end(speech))
    }

    fn end(&mut self, speech: usize) -> Segment {
        self.vad.close();
        self.speech = None;
        let silence = self.sound.len() - speech;
        let mut samples = std::mem::take(&mut self.sound);
        samples.truncate(speech + self.trailing);
        Segment::Ended {
            samples,
            speech_end: self.position - silence as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::sounds::{noise, silence, sine, spoken};

    fn segments(sound: &[f32]) -> Vec<Segment> {
        Segmenter::new(&config::Voice::default()).push(sound)
    }

    /// The ended utterances: where their speech ended, and their samples.
    fn utterances(sound: &[f32]) -> Vec<(usize, Vec<f32>)> {
        let mut started = 0;
        let mut ended = Vec::new();
        for segment in segments(sound) {
            match segment {
                Segment::Started => started += 1,
                Segment::Ended {
                    samples,
                    speech_end,
                } => {
                    ended.push((usize::try_from(speech_end).unwrap(), samples));
                }
            }
            assert!(started - ended.len() <= 1, "utterances follow one another");
        }
        ended
    }

    /// Whether `part` is a stretch of `whole`, and from where.
    fn place(part: &[f32], whole: &[f32]) -> usize {
        whole
            .windows(part.len())
            .position(|window| window == part)
            .expect("a stretch of the sound")
    }

    #[test]
    fn an_utterance_is_the_stretch_of_sound_around_the_speech() {
        let words = spoken("turn on the kitchen light");
        let (begin, end) = (samples(1000), samples(1000) + words.len());
        let sound = [silence(1000), words, silence(1000)].concat();
        let ended = utterances(&sound);
        let [(speech_end, heard)] = ended.as_slice() else {
            panic!("{} utterances", ended.len())
        };
        // Silence is the same everywhere, so the stretch is found by its end.
        let last = speech_end + samples(TRAILING_MS);
        assert_eq!(heard, &sound[last - heard.len()..last]);
        let first = last - heard.len();
        assert!(
            first < begin && begin - first < samples(300),
            "pre-roll {}",
            begin - first
        );
        assert!(
            speech_end.abs_diff(end) < samples(250),
            "speech to {speech_end}, words to {end}"
        );
    }

    #[test]
    fn every_syllable_is_inside_the_utterance() {
        for text in [
            "stop",
            "yes",
            "no",
            "turn left",
            "what time is it",
            "one two three four five",
        ] {
            let words = spoken(text);
            let loud = |sample: &&f32| sample.abs() > 0.05;
            let sound = [noise(0.001, 700), words.clone(), noise(0.001, 900)].concat();
            let ended = utterances(&sound);
            let [(_, heard)] = ended.as_slice() else {
                panic!("{text}: {} utterances", ended.len())
            };
            let (all, kept) = (
                words.iter().filter(loud).count(),
                heard.iter().filter(loud).count(),
            );
            assert_eq!(kept, all, "{text}: loud samples");
        }
    }

    #[test]
    fn a_short_pause_stays_inside_and_a_long_one_separates() {
        let (one, two) = (spoken("turn on the light"), spoken("and close the door"));
        let with_pause = |pause| {
            let sound = [
                silence(500),
                one.clone(),
                silence(pause),
                two.clone(),
                silence(1000),
            ]
            .concat();
            utterances(&sound).len()
        };
        assert_eq!(with_pause(100), 1);
        assert_eq!(with_pause(1200), 2);
    }

    #[test]
    fn cutting_the_pushes_anywhere_gives_the_same_segments() {
        let sound = [
            noise(0.01, 700),
            spoken("turn on the kitchen light"),
            silence(900),
            spoken("and what time is it"),
            silence(900),
        ]
        .concat();
        let whole = segments(&sound);
        assert_eq!(whole.len(), 4);
        for size in [1, 100, 255, 256, 257, 1600, 10_000] {
            let mut segmenter = Segmenter::new(&config::Voice::default());
            let cut: Vec<_> = sound
                .chunks(size)
                .flat_map(|piece| segmenter.push(piece))
                .collect();
            assert!(cut == whole, "in pieces of {size}");
        }
    }

    #[test]
    fn silence_a_tone_and_white_noise_open_nothing() {
        for sound in [
            silence(5000),
            sine(440.0, 16_000, 1, 5000),
            noise(0.3, 5000),
        ] {
            assert!(segments(&sound).is_empty());
        }
    }

    #[test]
    fn endless_speech_is_cut_at_the_longest_utterance_and_loses_nothing_between() {
        let mut config = config::Voice::default();
        config.longest_ms = config::Bounded::new(5000).unwrap();
        let words = spoken("one two three four five six seven eight nine ten");
        let sound = words.repeat(6);
        let mut ended = Vec::new();
        for segment in Segmenter::new(&config).push(&sound) {
            if let Segment::Ended { samples, .. } = segment {
                assert!(samples.len() <= 80_000, "{} samples", samples.len());
                ended.push(samples);
            }
        }
        assert!(ended.len() >= 3, "{} utterances", ended.len());
        let second = place(&ended[1], &sound[80_000 - 2 * FRAME..]);
        assert!(second < 3 * FRAME, "a gap of {second} samples");
    }

    #[test]
    fn a_skipped_stretch_is_not_heard_but_counts() {
        let mut segmenter = Segmenter::new(&config::Voice::default());
        let words = [spoken("turn on the kitchen light"), silence(1000)].concat();
        assert_eq!(segmenter.push(&words[..16_000]), [Segment::Started]);
        segmenter.skip(100_000);
        let again = segmenter.push(&words);
        let Some(Segment::Ended {
            speech_end,
            samples,
        }) = again.last()
        else {
            panic!("{again:?}")
        };
        assert!(*speech_end > 116_000 && samples.len() < words.len());
    }
}
