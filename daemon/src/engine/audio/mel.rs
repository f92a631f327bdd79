//! The log-mel spectrogram Gemma 4's conformer hears with, as a stream.
//!
//! Constants are those of `feature_extraction_gemma4.py` (transformers), which llama.cpp repeats
//! (mtmd-audio.cpp, `mtmd_audio_preprocessor_gemma4a`): 20 ms of sound every 10 ms, periodic Hann
//! window, 512-point Fourier transform, 128 triangular bands on the HTK mel scale up to 8 kHz,
//! magnitude, natural logarithm. A frame is there as soon as the sample after its last one is.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::SAMPLE_RATE;

/// Samples of sound in a frame.
const WINDOW: usize = 320;

/// Samples from one frame to the next.
const HOP: usize = 160;

/// Length of the Fourier transform; the frame is followed by zeros.
const FFT: usize = 512;

/// Zeros before the first sample: half a frame.
const LEAD: usize = WINDOW / 2;

/// Bands of the spectrogram.
pub(super) const BANDS: usize = 128;

/// Minimum argument of the logarithm.
const FLOOR: f64 = 1e-3;

/// How the floor of the logarithm is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::engine) enum Floor {
    /// log(x + floor): the published reference, on which Gemma 4 was trained.
    #[default]
    Added,
    /// log(max(x, floor)): llama.cpp.
    Least,
}

/// Window, transform and bands: computed once, shared by all streams.
pub(super) struct Tables {
    window: [f32; WINDOW],
    transform: Arc<dyn RealToComplex<f32>>,
    bands: Vec<Band>,
    floor: Floor,
}

/// One triangular band: its first frequency bin, and the weights from there on.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

/// The spectrogram of one utterance, as far as it has been heard.
#[derive(Debug, Clone)]
pub(super) struct LogMel {
    tables: Arc<Tables>,
    /// Samples that future frames need.
    sound: Vec<f32>,
    started: bool,
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Tables {
    pub(super) fn new(floor: Floor) -> Arc<Self> {
        let window = std::array::from_fn(|sample| {
            narrow(0.5 - 0.5 * (2.0 * PI * as_f64(sample) / as_f64(WINDOW)).cos())
        });
        Arc::new(Self {
            window,
            transform: RealFftPlanner::new().plan_fft_forward(FFT),
            bands: bands(),
            floor,
        })
    }

    fn log(&self, magnitude: f64) -> f32 {
        narrow(match self.floor {
            Floor::Added => (magnitude + FLOOR).ln(),
            Floor::Least => magnitude.max(FLOOR).ln(),
        })
    }
}

impl LogMel {
    pub(super) fn new(tables: &Arc<Tables>) -> Self {
        Self {
            tables: Arc::clone(tables),
            sound: vec![0.0; LEAD],
            started: false,
            frame: tables.transform.make_input_vec(),
            spectrum: tables.transform.make_output_vec(),
            scratch: tables.transform.make_scratch_vec(),
        }
    }

    /// Takes samples and appends the frames they complete to `frames`, [`BANDS`] numbers each.
    pub(super) fn push(&mut self, samples: &[f32], frames: &mut Vec<f32>) {
        self.sound.extend_from_slice(samples);
        let mut start = 0;
        // The reference takes frames of one sample more, of which it drops the last.
        while start + WINDOW < self.sound.len() {
            self.frame(start, frames);
            start += HOP;
        }
        self.sound.drain(..start);
    }

    /// Appends a frame if the sound was too short to make any, but not empty (llama.cpp rounds up there; the
    /// reference makes none).
    pub(super) fn finish(&mut self, frames: &mut Vec<f32>) {
        if !self.started && self.sound.len() > LEAD + 1 {
            self.sound.resize(WINDOW, 0.0);
            self.frame(0, frames);
        }
        self.sound.clear();
    }

    fn frame(&mut self, start: usize, frames: &mut Vec<f32>) {
        self.started = true;
        let tables = &*self.tables;
        let sound = &self.sound[start..start + WINDOW];
        self.frame.fill(0.0);
        for ((to, sample), weight) in self.frame.iter_mut().zip(sound).zip(&tables.window) {
            *to = sample * weight;
        }
        let lengths = "the transform made these buffers itself";
        tables
            .transform
            .process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch)
            .expect(lengths);
        frames.extend(tables.bands.iter().map(|band| {
            let bins = self.spectrum[band.first..].iter().zip(&band.weights);
            tables.log(
                bins.map(|(bin, weight)| f64::from(bin.norm() * weight))
                    .sum(),
            )
        }));
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables")
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

/// The triangles: band m rises from edge m to edge m + 1 and falls to edge m + 2, where the edges
/// are evenly spaced on the mel scale.
fn bands() -> Vec<Band> {
    let nyquist = f64::from(SAMPLE_RATE) / 2.0;
    let most = 2595.0 * (1.0 + nyquist / 700.0).log10();
    let edge = |nth: usize| {
        let mel = most * as_f64(nth) / as_f64(BANDS + 1);
        700.0 * (10f64.powf(mel / 2595.0) - 1.0)
    };
    let weight = |band: usize, bin: usize| {
        let hertz = as_f64(bin) * f64::from(SAMPLE_RATE) / as_f64(FFT);
        let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
        let rising = (hertz - left) / (centre - left);
        let falling = (right - hertz) / (right - centre);
        rising.min(falling).max(0.0)
    };
    (0..BANDS)
        .map(|band| {
            let weights: Vec<_> = (0..=FFT / 2).map(|bin| narrow(weight(band, bin))).collect();
            let inside = |weight: &f32| *weight > 0.0;
            let first = weights.iter().position(inside).unwrap_or(0);
            let end = weights
                .iter()
                .rposition(inside)
                .map_or(first, |last| last + 1);
            Band {
                first,
                weights: weights[first..end].to_vec(),
            }
        })
        .collect()
}

/// Small counts, which a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
fn narrow(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::audio::testing::reference::sound;
    use crate::engine::audio::testing::spectrogram;

    fn heard(samples: &[f32], part: usize, floor: Floor) -> Vec<f32> {
        let mut mel = LogMel::new(&Tables::new(floor));
        let mut frames = Vec::new();
        samples
            .chunks(part)
            .for_each(|part| mel.push(part, &mut frames));
        mel.finish(&mut frames);
        frames
    }

    #[test]
    fn the_spectrogram_is_llama_cpps() {
        let samples = sound(50_000, 1);
        let ours = heard(&samples, samples.len(), Floor::Least);
        let theirs = spectrogram::whole(&samples);
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-3, "{ours} {theirs}");
        }
    }

    #[test]
    fn pushes_of_any_size_give_the_same_bits() {
        let samples = sound(20_000, 2);
        let whole = heard(&samples, samples.len(), Floor::Added);
        for part in [1, 159, 160, 161, 320, 5000] {
            assert_eq!(heard(&samples, part, Floor::Added), whole, "{part}");
        }
    }

    #[test]
    fn the_reference_adds_the_floor_and_llama_cpp_does_not_go_below_it() {
        let samples = sound(20_000, 3);
        let added = heard(&samples, 1000, Floor::Added);
        let least = heard(&samples, 1000, Floor::Least);
        for (added, least) in added.iter().zip(&least) {
            assert!((-1e-6..=2f32.ln() + 1e-6).contains(&(added - least)));
        }
        let silence = heard(&[0.0; 1600], 1600, Floor::Added);
        assert!(
            silence
                .iter()
                .all(|number| (number - 1e-3f32.ln()).abs() < 1e-6)
        );
    }
}
