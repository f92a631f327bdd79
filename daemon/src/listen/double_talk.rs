//! Double-talk detection: does a person speak while the assistant does? Takes a few hundredths of a second.
//!
//! The linear filter attenuates the echo, and after some seconds of echo it is known by how much. A residual beyond
//! that is a person. AEC3's suppressor knows too, but takes a tenth of a second longer to let a voice through, because
//! whatever it lets through is heard.
//!
//! `examples/double_talk` measures it with this canceller in simulated rooms: reverberation of 200 to 600 ms, echoes 0
//! and 10 dB below what is played, loudspeakers that distort or do not, noise of -75 to -50 dBFS, and voices of six
//! languages. From the onset of a person until the assistant would pause (`barge_in`), in 240 scenes for each level:
//!
//! | person, relative to the echo | median | 19 of 20 | not within 500 ms |
//! |---|---|---|---|
//! | 6 dB louder | 27 ms | 78 ms | 0 % |
//! | as loud | 42 ms | 189 ms | 0.8 % |
//! | 6 dB quieter | 78 ms | - | 7 % |
//!
//! There are 6 false alarms in 72 minutes with nobody there. A microphone with little gain is worse: with the echo 25
//! dB below what is played, 33 % of those as loud are missed. `cargo xtask bench double-talk` measures this again;
//! [`Thresholds`] were chosen in other rooms, with other voices.

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::foreground::decibels;
use super::thresholds::Thresholds;
use super::vad::FRAME;

/// Length of a hop (8 ms) and of the window that is analysed at each hop, in samples at 16 kHz.
const HOP: usize = FRAME / 2;
const WINDOW: usize = FRAME;

/// Edges of the bands, in bins of 62.5 Hz. A voice seldom masks another one in all bands. Chosen by hand: from 250 Hz
/// to 8 kHz, wider towards the top.
const EDGES: [usize; BANDS + 1] = [4, 12, 24, 44, 80, 128];
const BANDS: usize = 5;

/// Level of each band, in dBFS.
type Levels = [f32; BANDS];

/// Hops remembered (4 s), and hops needed for an estimate (1.2 s). Chosen by hand.
const PAST: usize = 500;
const ENOUGH: usize = 150;

/// Hops from one estimate to the next, to save the sorting. Chosen by hand.
const MEASURED_EVERY: usize = 16;

/// The quietest 10 % of hops estimate the noise floor between words. Chosen by hand.
const QUIETEST: f32 = 0.1;

/// State of one band.
#[derive(Debug)]
struct Band {
    /// Level of the echo, which decays, in dBFS.
    echo: f32,
    /// Residual relative to the echo, in dB, in the last [`PAST`] hops with an echo.
    left: VecDeque<f32>,
    /// Level of the residual in the last [`PAST`] hops, in dBFS.
    residuals: VecDeque<f32>,
    /// The usual residual relative to the echo, in dB, once that is known.
    usual: Option<f32>,
    /// Highest level of the residual while nobody speaks, in dBFS.
    noise: f32,
}

impl Band {
    fn new(thresholds: &Thresholds) -> Self {
        Self {
            echo: thresholds.inaudible,
            left: VecDeque::with_capacity(PAST),
            residuals: VecDeque::with_capacity(PAST),
            usual: None,
            noise: thresholds.inaudible,
        }
    }

    /// Hears the levels of a hop; returns the excess over the usual residual, in dB.
    fn hear(&mut self, echo: f32, residual: f32, thresholds: &Thresholds) -> f32 {
        self.echo = echo.max(self.echo - thresholds.decay);
        if self.echo > thresholds.inaudible {
            remember(&mut self.left, residual - self.echo);
        }
        remember(&mut self.residuals, residual);
        self.usual.map_or(0.0, |usual| {
            let expected = (self.echo + usual).max(self.noise);
            (residual - expected).max(0.0)
        })
    }

    fn measure(&mut self, thresholds: &Thresholds) {
        let usual = quantile(&self.left, thresholds.usual);
        self.usual = usual.map(|usual| usual.max(thresholds.least_left));
        if let Some(quietest) = quantile(&self.residuals, QUIETEST) {
            self.noise = (quietest + thresholds.noise).max(thresholds.inaudible);
        }
    }
}

fn remember(past: &mut VecDeque<f32>, level: f32) {
    if past.len() == PAST {
        past.pop_front();
    }
    past.push_back(level);
}

/// The `share` quantile of these levels; `None` if there are fewer than [`ENOUGH`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place among a few hundred"
)]
fn quantile(past: &VecDeque<f32>, share: f32) -> Option<f32> {
    if past.len() < ENOUGH {
        return None;
    }
    let mut sorted: Vec<f32> = past.iter().copied().collect();
    let place = (share * (sorted.len() - 1) as f32) as usize;
    let (_, level, _) = sorted.select_nth_unstable_by(place, f32::total_cmp);
    Some(*level)
}

/// Band levels of one sound, hop by hop.
struct Spectrum {
    transform: Arc<dyn RealToComplex<f32>>,
    hann: [f32; WINDOW],
    /// The samples that are analysed.
    window: [f32; WINDOW],
    windowed: Vec<f32>,
    bins: Vec<Complex32>,
}

impl Spectrum {
    #[expect(clippy::cast_precision_loss, reason = "places in a window")]
    fn new() -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(WINDOW);
        Self {
            hann: std::array::from_fn(|nth| 0.5 - 0.5 * (TAU * nth as f32 / WINDOW as f32).cos()),
            window: [0.0; WINDOW],
            windowed: transform.make_input_vec(),
            bins: transform.make_output_vec(),
            transform,
        }
    }

    /// Levels of the last [`WINDOW`] samples, which end with this hop.
    #[expect(clippy::cast_precision_loss, reason = "the constant is small")]
    fn hear(&mut self, hop: impl Iterator<Item = f32>) -> Levels {
        self.window.copy_within(HOP.., 0);
        for (sample, new) in self.window[WINDOW - HOP..].iter_mut().zip(hop) {
            *sample = new;
        }
        let samples = self.window.iter().zip(&self.hann);
        for (output, (sample, hann)) in self.windowed.iter_mut().zip(samples) {
            *output = hann * sample;
        }
        let done = self.transform.process(&mut self.windowed, &mut self.bins);
        debug_assert!(done.is_ok(), "the buffers have the lengths it asked for");
        // The window's mean square is 3/8.
        let scale = 1.0 / (0.375 * (WINDOW * WINDOW) as f32);
        std::array::from_fn(|band| {
            let bins = &self.bins[EDGES[band]..EDGES[band + 1]];
            let power: f32 = bins.iter().map(Complex32::norm_sqr).sum();
            decibels(power * scale)
        })
    }
}

/// The double-talk detector for one loudspeaker and one microphone.
pub struct DoubleTalk {
    thresholds: Thresholds,
    bands: [Band; BANDS],
    echo: Spectrum,
    residual: Spectrum,
    /// Hops since the last estimate.
    hops: usize,
    /// Hops in a row in which a person seemed to speak.
    evidence: usize,
}

impl DoubleTalk {
    /// A detector that has heard nothing yet.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            bands: std::array::from_fn(|_| Band::new(&thresholds)),
            echo: Spectrum::new(),
            residual: Spectrum::new(),
            hops: 0,
            evidence: 0,
        }
    }

    /// Hears the next frame, as it was captured and as the linear filter leaves it; returns whether a person speaks
    /// besides the assistant.
    pub fn hear(&mut self, captured: &[f32; FRAME], linear: &[f32; FRAME]) -> bool {
        let mut is_somebody = false;
        for (captured, linear) in captured.chunks(HOP).zip(linear.chunks(HOP)) {
            let predicted = captured.iter().zip(linear).map(|(all, left)| all - left);
            let echo = self.echo.hear(predicted);
            let residual = self.residual.hear(linear.iter().copied());
            is_somebody |= self.judge(echo, residual);
        }
        is_somebody
    }

    fn judge(&mut self, echo: Levels, residual: Levels) -> bool {
        let thresholds = self.thresholds;
        let levels = echo.into_iter().zip(residual);
        let bands = self.bands.iter_mut().zip(levels);
        let excess: f32 = bands
            .map(|(band, (echo, residual))| band.hear(echo, residual, &thresholds))
            .sum();
        self.evidence = if excess > thresholds.excess {
            self.evidence + 1
        } else {
            0
        };
        self.hops += 1;
        if self.hops == MEASURED_EVERY {
            self.hops = 0;
            let bands = self.bands.iter_mut();
            bands.for_each(|band| band.measure(&thresholds));
        }
        self.evidence >= thresholds.hops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::testing::noise;

    /// The frames in which a person is detected, if a tenth of `echo` is left and `others` are heard too.
    fn somebody(echo: &[f32], others: &[f32]) -> Vec<usize> {
        let mut double_talk = DoubleTalk::new(Thresholds::default());
        let frames = echo
            .as_chunks::<FRAME>()
            .0
            .iter()
            .zip(others.as_chunks::<FRAME>().0);
        let is_somebody = |(echo, others): (&[f32; FRAME], &[f32; FRAME])| {
            let linear = std::array::from_fn(|at| 0.1 * echo[at] + others[at]);
            let captured = std::array::from_fn(|at| echo[at] + others[at]);
            double_talk.hear(&captured, &linear)
        };
        let heard: Vec<bool> = frames.map(is_somebody).collect();
        let numbered = heard.iter().enumerate();
        numbered
            .filter(|(_, is)| **is)
            .map(|(nth, _)| nth)
            .collect()
    }

    /// Noise from `begin` to `end`, in ms, in silence of `all` ms.
    fn between(begin: usize, end: usize, all: usize) -> Vec<f32> {
        let mut sound = noise(0.1, all);
        sound[..begin * 16].fill(0.0);
        sound[end * 16..].fill(0.0);
        sound
    }

    #[test]
    fn what_is_left_of_an_echo_as_always_is_nobody() {
        let echo = noise(0.1, 5000);
        assert!(somebody(&echo, &vec![0.0; echo.len()]).is_empty());
    }

    #[test]
    fn somebody_is_noticed_in_the_second_frame_they_are_in() {
        let echo = noise(0.1, 5000);
        let heard = somebody(&echo, &between(4000, 4200, 5000));
        let first = 4000 * 16 / FRAME;
        assert!((first..first + 2).contains(&heard[0]), "{heard:?}");
        assert!(
            heard.len() >= 8 && *heard.last().unwrap() <= first + 14,
            "{heard:?}"
        );
    }

    #[test]
    fn nothing_is_known_before_an_echo_was_heard_for_a_while() {
        let echo = noise(0.1, 3000);
        assert!(somebody(&echo, &between(500, 1000, 3000)).is_empty());
    }
}
