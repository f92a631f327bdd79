//! Voice activity detection: a probability of speech for every 16 ms, made into a decision that does not flicker.
//!
//! A cheap detector runs all the time. It takes music for speech, so a second one ([`Confirmation`]) is asked where an
//! utterance would begin, and hears it to its end.

use earshot::Detector;

use super::confirmation::Confirmation;
pub use super::frame::FRAME;
use crate::config;
use crate::sound::resample::samples;

/// Gain for quiet sound before detection (12 dB); loud sound gets less, so that it stays within full scale. Speech 3 m
/// from the microphone instead of half a metre is 16 dB quieter (the inverse distance law), and the detector then
/// seldom finds it. Chosen by hand; with it, 119 of 120 commands from afar are heard to their end
/// (`endpoint_late_far`).
const GAIN: f32 = 4.0;

/// Decay of the recent peak in a frame: it halves in a second. Chosen by hand.
const FADING: f32 = 0.989;

/// Probability that a frame is speech, after those that the detector heard before.
pub fn probability(detector: &mut Detector, frame: &[f32; FRAME]) -> f32 {
    // A loud sound may leave the resampler slightly beyond full scale, which earshot forbids.
    detector.predict_f32(&frame.map(|sample| sample.clamp(-1.0, 1.0)))
}

/// Voice activity detection with hysteresis: hard to open, easy to keep open.
pub struct Vad {
    detector: Box<Detector>,
    open: f32,
    close: f32,
    /// Frames of speech that open it.
    onset: usize,
    /// Evidence for speech while closed, in frames.
    evidence: usize,
    is_open: bool,
    /// The recent peak.
    peak: f32,
    /// Tells voices from music; `None`: everything that sounds like speech is.
    confirmation: Option<Confirmation>,
}

impl Vad {
    /// A closed detector with the thresholds of the configuration, which only voices open.
    #[must_use]
    pub fn new(config: &config::Voice) -> Self {
        let (open, close) = (config.open.get(), config.close.get());
        Self {
            confirmation: Confirmation::new(),
            ..Self::with(open, close, config.onset_ms.get())
        }
    }

    /// A closed detector that opens after `onset_ms` with a probability of at least `open`, and then takes frames of at
    /// least `close` for speech.
    #[must_use]
    pub fn with(open: f32, close: f32, onset_ms: u32) -> Self {
        Self {
            detector: Box::default(),
            open,
            close,
            onset: samples(onset_ms).div_ceil(FRAME),
            evidence: 0,
            is_open: false,
            peak: 0.0,
            confirmation: None,
        }
    }

    /// Whether the frame is speech.
    ///
    /// While closed, frames above the opening threshold are evidence, frames between the thresholds
    /// take one away, and a frame below the closing threshold takes all: a word's short dip does
    /// not hide it, and a hum that sometimes touches the threshold does not add up to a word. While
    /// open, every frame above the closing threshold is speech.
    pub fn hear(&mut self, frame: &[f32; FRAME]) -> bool {
        let loudest = frame.iter().fold(0.0, |most: f32, it| most.max(it.abs()));
        self.peak = loudest.max(self.peak * FADING);
        let gain = GAIN.min(1.0 / self.peak);
        let frame = frame.map(|sample| sample * gain);
        let probability = probability(&mut self.detector, &frame);
        if self.is_open {
            let confirmation = self.confirmation.as_mut();
            let is_possible = probability >= self.close;
            let is_voice = confirmation.is_none_or(|it| it.goes_on(&frame, is_possible));
            return is_possible && is_voice;
        }
        self.evidence = if probability >= self.open {
            self.evidence + 1
        } else if probability >= self.close {
            self.evidence.saturating_sub(1)
        } else {
            0
        };
        let is_possible = self.evidence > 0;
        let confirmation = self.confirmation.as_mut();
        let is_voice = confirmation.is_none_or(|it| it.begins(&frame, is_possible));
        self.is_open = self.evidence >= self.onset && is_voice;
        self.is_open
    }

    /// Whether it is closed, and speech may have begun.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        !self.is_open && self.evidence > 0
    }

    /// Samples of the speech that has opened it, back to its first faint beginning: at least those of the onset.
    #[must_use]
    pub fn begun(&self) -> usize {
        let voice = self.confirmation.as_ref().map_or(0, Confirmation::voice);
        voice.max(self.onset * FRAME)
    }

    /// Closes it: speech needs an onset again.
    pub fn close(&mut self) {
        self.is_open = false;
        self.evidence = 0;
        if let Some(confirmation) = &mut self.confirmation {
            confirmation.close();
        }
    }

    /// Hears sound in which no utterance may begin, cheaply: what follows may begin in it.
    pub fn overhear(&mut self, samples: &[f32]) {
        self.close();
        self.peak = 0.0;
        self.detector.reset();
        if let Some(confirmation) = &mut self.confirmation {
            confirmation.rest();
            confirmation.overhear(samples);
        }
    }

    /// Closes it and forgets all sound, because what comes next does not follow on it.
    pub fn reset(&mut self) {
        self.close();
        self.peak = 0.0;
        self.detector.reset();
        if let Some(confirmation) = &mut self.confirmation {
            confirmation.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::resample::RATE;
    use crate::sound::testing::{noise, silence, sine, spoken};

    /// The frames, from 0, that are speech.
    fn speech(vad: &mut Vad, sound: &[f32]) -> Vec<usize> {
        let frames = sound.as_chunks().0.iter().enumerate();
        frames
            .filter(|(_, frame)| vad.hear(frame))
            .map(|(index, _)| index)
            .collect()
    }

    #[test]
    fn speech_opens_it_and_keeps_it_open_to_its_end() {
        let mut vad = Vad::new(&config::Voice::default());
        let words = spoken("turn on the kitchen light");
        let sound = [silence(500), words.clone(), silence(500)].concat();
        let heard = speech(&mut vad, &sound);
        let begin = samples(500) / FRAME;
        let end = (samples(500) + words.len()) / FRAME;
        assert!(
            (begin..begin + 20).contains(&heard[0]),
            "{heard:?}, words from {begin}"
        );
        let last = *heard.last().unwrap();
        assert!(
            (end - 20..end + 5).contains(&last),
            "{heard:?}, words to {end}"
        );
        assert_eq!(heard.len(), last - heard[0] + 1, "no gap inside: {heard:?}");
    }

    #[test]
    fn tones_noise_and_silence_do_not_open_it() {
        let mut sounds = vec![silence(3000)];
        for hertz in [50.0, 100.0, 200.0, 440.0, 1000.0, 3000.0] {
            sounds.push(sine(hertz, RATE, 1, 3000));
        }
        for peak in [0.01, 0.1, 0.5, 1.0] {
            sounds.push(noise(peak, 3000));
        }
        for (index, sound) in sounds.iter().enumerate() {
            let mut vad = Vad::new(&config::Voice::default());
            assert!(speech(&mut vad, sound).is_empty(), "sound {index}");
        }
    }

    #[test]
    fn speech_opens_it_through_noise() {
        let mut vad = Vad::new(&config::Voice::default());
        let words = spoken("what is the weather like today");
        let hiss = noise(0.02, 10_000);
        let sound: Vec<f32> = words
            .iter()
            .zip(&hiss)
            .map(|(word, hiss)| word + hiss)
            .collect();
        assert!(!speech(&mut vad, &sound).is_empty());
    }

    #[test]
    fn somebody_far_away_opens_it() {
        let mut vad = Vad::new(&config::Voice::default());
        let words = spoken("turn on the kitchen light");
        let hiss = noise(0.001, words.len() / 16);
        let far: Vec<f32> = words
            .iter()
            .zip(&hiss)
            .map(|(word, hiss)| word * 0.02 + hiss)
            .collect();
        assert!(!speech(&mut vad, &far).is_empty());
    }

    #[test]
    fn closing_asks_for_a_new_onset() {
        let mut vad = Vad::new(&config::Voice::default());
        let words = spoken("turn on the kitchen light");
        assert!(!speech(&mut vad, &words[..16_000]).is_empty());
        vad.close();
        let first = speech(&mut vad, &words[16_000..])[0];
        assert_eq!(first, 5, "six frames of 16 ms make the onset of 96 ms");
    }
}
