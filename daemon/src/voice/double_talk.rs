//! Does somebody speak while the assistant does? Double-talk detection, in a few hundredths of a second.
//!
//! The linear filter leaves less of the echo than there was, and how much less is known after some seconds of it. What
//! is left beyond that is somebody. AEC3's suppressor knows too, but takes a tenth of a second longer to let a voice
//! through, because whatever it lets through is heard.
//!
//! The numbers below were chosen in a simulation, which is not kept, of rooms: echoes 0 and 10 dB below what is played,
//! 200 to 400 ms of reverberation, also from a loudspeaker that distorts, and eight voices. There, somebody as loud as
//! the echo was noticed 30 to 60 ms after they began in half of the cases and after at most 95 ms in 19 of 20, and in
//! 18 minutes nobody was.

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use super::foreground::decibels;
use super::vad::FRAME;

/// Samples of 16 kHz after which it is asked again (8 ms), and that are looked at then.
const HOP: usize = FRAME / 2;
const WINDOW: usize = FRAME;

/// Where bands begin and end, in bins of 62.5 Hz: a voice seldom hides another one in all of them.
const EDGES: [usize; BANDS + 1] = [4, 12, 24, 44, 80, 128];
const BANDS: usize = 5;

/// Levels of a band, in dB of full scale.
type Levels = [f32; BANDS];

/// What is quieter is not heard.
const INAUDIBLE: f32 = -62.0;

/// By how much an echo gets quieter in a hop, in dB, when nothing more is played: 60 dB in 0.64 s, as in a large living
/// room.
const DECAY: f32 = 0.75;

/// Hops that are remembered (4 s), and that are needed to know what is usual.
const PAST: usize = 500;
const ENOUGH: usize = 150;

/// Hops after which it is found out again what is usual.
const MEASURED_EVERY: usize = 16;

/// Share of the hops in which no more of the echo is left than what counts as usual.
const USUAL: f32 = 0.95;

/// However little is usually left of an echo, so much may be, in dB.
const LEAST_LEFT: f32 = -25.0;

/// Share of the hops that are no louder than the noise of the room between two words, and how much louder it is now and
/// then, in dB.
const QUIETEST: f32 = 0.1;
const NOISE: f32 = 8.0;

/// More than the usual, in dB and of all bands together, that somebody has to be; and for so many hops.
const EXCESS: f32 = 20.0;
const HOPS: usize = 2;

/// What is known of a band.
#[derive(Debug)]
struct Band {
    /// How loud the echo still is.
    echo: f32,
    /// What was left of it, in dB, in the last [`PAST`] hops in which there was any.
    left: VecDeque<f32>,
    /// What was left altogether in the last [`PAST`] hops.
    residuals: VecDeque<f32>,
    /// What is usually left of it, at most, once that is known.
    usual: Option<f32>,
    /// What is left when nobody speaks, at most.
    noise: f32,
}

impl Band {
    fn new() -> Self {
        Self {
            echo: INAUDIBLE,
            left: VecDeque::with_capacity(PAST),
            residuals: VecDeque::with_capacity(PAST),
            usual: None,
            noise: INAUDIBLE,
        }
    }

    /// By how many dB more is left than is usual.
    fn hear(&mut self, echo: f32, residual: f32) -> f32 {
        self.echo = echo.max(self.echo - DECAY);
        if self.echo > INAUDIBLE {
            remember(&mut self.left, residual - self.echo);
        }
        remember(&mut self.residuals, residual);
        self.usual.map_or(0.0, |usual| {
            let expected = (self.echo + usual).max(self.noise);
            (residual - expected).max(0.0)
        })
    }

    fn measure(&mut self) {
        self.usual = quantile(&self.left, USUAL).map(|usual| usual.max(LEAST_LEFT));
        if let Some(quietest) = quantile(&self.residuals, QUIETEST) {
            self.noise = (quietest + NOISE).max(INAUDIBLE);
        }
    }
}

fn remember(past: &mut VecDeque<f32>, level: f32) {
    if past.len() == PAST {
        past.pop_front();
    }
    past.push_back(level);
}

/// The level below which so large a share of them is; nothing if there are too few to say.
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

/// Levels in bands of one sound, hop by hop.
struct Spectrum {
    transform: Arc<dyn RealToComplex<f32>>,
    hann: [f32; WINDOW],
    /// The samples that are looked at.
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

    /// Levels of the last [`WINDOW`] samples, of which these are the latest.
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

/// Knows what is usually left of the assistant's own voice, between one loudspeaker and one microphone.
pub(super) struct DoubleTalk {
    bands: [Band; BANDS],
    echo: Spectrum,
    residual: Spectrum,
    /// Hops since it was found out what is usual.
    hops: usize,
    /// Hops in which somebody seemed to speak.
    evidence: usize,
}

impl DoubleTalk {
    /// Between two that were never heard together.
    pub(super) fn new() -> Self {
        Self {
            bands: std::array::from_fn(|_| Band::new()),
            echo: Spectrum::new(),
            residual: Spectrum::new(),
            hops: 0,
            evidence: 0,
        }
    }

    /// Hears the next frame, as it was captured and as the linear filter leaves it; says whether somebody speaks
    /// besides the assistant.
    pub(super) fn hear(&mut self, captured: &[f32; FRAME], linear: &[f32; FRAME]) -> bool {
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
        let levels = echo.into_iter().zip(residual);
        let bands = self.bands.iter_mut().zip(levels);
        let excess: f32 = bands
            .map(|(band, (echo, residual))| band.hear(echo, residual))
            .sum();
        self.evidence = if excess > EXCESS {
            self.evidence + 1
        } else {
            0
        };
        self.hops += 1;
        if self.hops == MEASURED_EVERY {
            self.hops = 0;
            self.bands.iter_mut().for_each(Band::measure);
        }
        self.evidence >= HOPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::sounds::noise;

    /// In which frames somebody speaks, of an echo of which a tenth is left, where `others` are heard too.
    fn somebody(echo: &[f32], others: &[f32]) -> Vec<usize> {
        let mut double_talk = DoubleTalk::new();
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

    /// Noise that begins and ends after so many ms.
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
