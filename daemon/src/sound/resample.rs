//! From any rate and number of channels to one channel of another rate: to what the model and the VAD hear,
//! 16 kHz, and to what a loudspeaker plays.
//!
//! One resampler serves files and microphones alike, so that the same sound gives the same samples
//! whichever way it came.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use super::mix::{Mix, level};

/// Samples per second after resampling; what Gemma 4's audio encoder was trained on.
pub const RATE: u32 = super::format::SAMPLE_RATE;

/// Blocks per second of the resampler: 20 ms of sound each. Longer blocks come closer to half the output rate (at 16
/// kHz, these pass 7.7 of 8 kHz) and add delay.
const BLOCKS_PER_SECOND: u32 = 50;

/// Longest block of input or output, in samples. Two rates without a common divisor need a block of a second, whose
/// filter takes 250 times as many bytes.
const LONGEST_BLOCK: u32 = 48_000;

/// Granularity of rates that would need a longer block, in Hz: they are rounded to the nearest multiple. All rates in
/// use are multiples of it; at 48 kHz the rounding is off by half a cent at most.
const STEP: u32 = 25;

/// Turns interleaved samples into mono samples of another rate.
///
/// The output begins where the input begins, without the filter's delay, and after [`flush`] it is
/// as long as the input, rounded up to a whole sample. How the input is split into calls makes no difference.
///
/// [`flush`]: Resampler::flush
pub struct Resampler {
    /// Input frames per second.
    rate: u32,
    /// Output samples per second.
    target: u32,
    /// Samples in an input frame.
    channels: u16,
    /// How they become one sample.
    mix: Mix,
    /// The frame being read: its mix so far, and the number of samples read.
    frame: (f32, u16),
    /// Mono samples at the input rate, waiting until they fill a block.
    block: Vec<f32>,
    /// Frames read so far.
    read: u64,
    /// Samples written so far.
    written: u64,
    /// `None` when the rates are the same.
    filter: Option<Filter>,
}

/// rubato's resampler with its output block.
struct Filter {
    inner: Fft<f32>,
    output: Vec<f32>,
    /// Samples of the filter's delay still to be dropped from the output.
    delay: usize,
}

impl Resampler {
    /// Resamples from `rate` frames of `channels` samples a second to 16 kHz. 0 of either counts as 1.
    #[must_use]
    pub fn new(rate: u32, channels: u16) -> Self {
        Self::to(RATE, rate, channels)
    }

    /// The same to `target` samples a second; 0 counts as 1.
    #[must_use]
    pub fn to(target: u32, rate: u32, channels: u16) -> Self {
        let (rate, target) = (rate.max(1), target.max(1));
        Self {
            rate,
            target,
            channels: channels.max(1),
            mix: Mix::Mean,
            frame: (0.0, 0),
            block: Vec::new(),
            read: 0,
            written: 0,
            filter: (rate != target).then(|| Filter::new(rate, target)),
        }
    }

    /// Mixes the channels by `mix` instead of to their mean. A channel that does not exist is silence.
    #[must_use]
    pub fn hearing(mut self, mix: Mix) -> Self {
        self.hear(mix);
        self
    }

    /// The same in mid-stream. Of an incomplete frame, the samples so far are left out.
    pub fn hear(&mut self, mix: Mix) {
        self.mix = mix;
        self.frame.0 = 0.0;
    }

    /// Reads interleaved samples and appends the mono samples they complete to `output`.
    ///
    /// Samples beyond full scale are clipped and those that are not finite are silence, because a single one would
    /// poison everything downstream for ever.
    pub fn push(&mut self, input: &[f32], output: &mut Vec<f32>) {
        for sample in input {
            let sample = level(*sample);
            match self.mix {
                Mix::Mean => self.frame.0 += sample,
                Mix::Only(channel) if channel == self.frame.1 => self.frame.0 = sample,
                Mix::Only(_) => {}
            }
            self.frame.1 += 1;
            if self.frame.1 == self.channels {
                let share = match self.mix {
                    Mix::Mean => f32::from(self.channels),
                    Mix::Only(_) => 1.0,
                };
                self.push_mono(self.frame.0 / share, output);
                self.frame = (0.0, 0);
            }
        }
    }

    /// Ends the input: appends what is still in the filter. An incomplete last frame is dropped.
    pub fn flush(mut self, output: &mut Vec<f32>) {
        let total = (self.read * u64::from(self.target)).div_ceil(u64::from(self.rate));
        while self.written < total {
            self.push_mono(0.0, output);
        }
        for _ in total..self.written {
            output.pop();
        }
    }

    fn push_mono(&mut self, sample: f32, output: &mut Vec<f32>) {
        self.read += 1;
        let before = output.len();
        if let Some(filter) = &mut self.filter {
            self.block.push(sample);
            if self.block.len() == filter.inner.input_frames_next() {
                filter.process(&self.block, output);
                self.block.clear();
            }
        } else {
            output.push(sample);
        }
        self.written += (output.len() - before) as u64;
    }
}

impl Filter {
    fn new(rate: u32, target: u32) -> Self {
        let (rate, target) = convenient(rate, target);
        let build = |block| {
            Fft::new(rate as usize, target as usize, block, 1, FixedSync::Both)
                .expect("it refuses only rates and blocks of 0, and neither is")
        };
        let mut inner = build((rate / BLOCKS_PER_SECOND).max(1) as usize);
        if inner.fft_size_in() % 2 == 1 {
            // With blocks of odd length, the filter's delay is half a sample off the one it states.
            inner = build(2 * inner.fft_size_in());
        }
        Self {
            output: vec![0.0; inner.output_frames_max()],
            delay: inner.output_delay(),
            inner,
        }
    }

    fn process(&mut self, block: &[f32], output: &mut Vec<f32>) {
        let frames = self.output.len();
        let fits = "the slice has exactly as many frames as are claimed";
        let input = InterleavedSlice::new(block, 1, block.len()).expect(fits);
        let mut room = InterleavedSlice::new_mut(&mut self.output, 1, frames).expect(fits);
        let (_, made) = self
            .inner
            .process_into_buffer(&input, &mut room, None)
            .expect("both buffers have the sizes it asked for");
        let dropped = self.delay.min(made);
        self.delay -= dropped;
        output.extend_from_slice(&self.output[dropped..made]);
    }
}

/// These rates if their block is short enough, else the nearest multiples of [`STEP`].
fn convenient(rate: u32, target: u32) -> (u32, u32) {
    let block = rate.max(target) / greatest_common_divisor(rate, target);
    let round = |rate: u32| (rate + STEP / 2) / STEP * STEP;
    match block {
        0..=LONGEST_BLOCK => (rate, target),
        _ => (round(rate).max(STEP), round(target).max(STEP)),
    }
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    match other {
        0 => one.max(1),
        other => greatest_common_divisor(other, one % other),
    }
}

/// Number of samples in `milliseconds` at [`RATE`].
#[must_use]
pub fn samples(milliseconds: u32) -> usize {
    milliseconds as usize * RATE as usize / 1000
}

#[cfg(test)]
mod tests {
    use super::super::testing::sine;
    use super::*;

    fn resample(rate: u32, channels: u16, pieces: &[&[f32]]) -> Vec<f32> {
        let mut resampler = Resampler::new(rate, channels);
        let mut output = Vec::new();
        for piece in pieces {
            resampler.push(piece, &mut output);
        }
        resampler.flush(&mut output);
        output
    }

    #[test]
    fn a_sine_keeps_frequency_level_phase_and_length_from_every_rate_and_channel_count() {
        let ideal = sine(440.0, RATE, 1, 1500);
        for rate in [
            8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 44_099,
        ] {
            for channels in [1, 2, 8] {
                let output = resample(rate, channels, &[&sine(440.0, rate, channels, 1500)]);
                assert!(
                    output.len().abs_diff(ideal.len()) <= 1,
                    "{rate} Hz: {}",
                    output.len()
                );
                // The ends ring, because a sine that begins is no pure sine.
                let worst = (400..ideal.len() - 400)
                    .map(|i| (output[i] - ideal[i]).abs())
                    .fold(0.0, f32::max);
                assert!(
                    worst < 1e-3,
                    "{rate} Hz, {channels} channels: off by {worst}"
                );
            }
        }
    }

    #[test]
    fn a_sine_reaches_a_loudspeaker_of_any_rate_as_it_was() {
        for target in [16_000, 44_100, 48_000] {
            let mut resampler = Resampler::to(target, 22_050, 1);
            let mut output = Vec::new();
            resampler.push(&sine(440.0, 22_050, 1, 1500), &mut output);
            resampler.flush(&mut output);
            let ideal = sine(440.0, target, 1, 1500);
            assert!(output.len().abs_diff(ideal.len()) <= 1, "{target} Hz");
            let middle = 1200..ideal.len() - 1200;
            let worst = middle.map(|i| (output[i] - ideal[i]).abs());
            assert!(worst.fold(0.0, f32::max) < 1e-3, "{target} Hz");
        }
    }

    #[test]
    fn what_16_khz_cannot_carry_does_not_come_back_as_another_tone() {
        let output = resample(48_000, 1, &[&sine(9_500.0, 48_000, 1, 1000)]);
        let loudest = output[400..15_600]
            .iter()
            .fold(0.0, |max: f32, s| max.max(s.abs()));
        assert!(loudest < 1e-3, "{loudest}");
    }

    #[test]
    fn sound_at_16_khz_mono_passes_through_unchanged() {
        let input: Vec<f32> = (-500..500i16).map(|i| f32::from(i) / 500.0).collect();
        assert_eq!(resample(RATE, 1, &[&input]), input);
    }

    #[test]
    fn channels_are_mixed_to_their_mean() {
        assert_eq!(
            resample(RATE, 2, &[&[0.5, 0.25, -1.0, 1.0, 0.9]]),
            [0.375, 0.0]
        );
    }

    #[test]
    fn one_channel_of_several_is_heard_alone_and_from_the_next_frame_on() {
        let mut resampler = Resampler::new(RATE, 3).hearing(Mix::Only(1));
        let mut output = Vec::new();
        resampler.push(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &mut output);
        resampler.hear(Mix::Only(7));
        resampler.push(&[0.1, 0.2, 0.3], &mut output);
        resampler.hear(Mix::Mean);
        resampler.push(&[0.25, 0.5, 0.75], &mut output);
        assert_eq!(output, [0.2, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn cutting_the_input_anywhere_changes_nothing() {
        for (rate, channels) in [(44_100, 2), (48_000, 3), (RATE, 2)] {
            let input = sine(440.0, rate, channels, 1500);
            let whole = resample(rate, channels, &[&input]);
            for size in [1, 7, 480, 9_999] {
                let pieces: Vec<_> = input.chunks(size).collect();
                assert_eq!(
                    resample(rate, channels, &pieces),
                    whole,
                    "{rate} Hz in {size}s"
                );
            }
        }
    }

    #[test]
    fn samples_that_are_no_numbers_or_beyond_full_scale_do_no_lasting_harm() {
        let input = [f32::NAN, f32::INFINITY, 1e30, -7.0];
        assert_eq!(resample(RATE, 1, &[&input]), [0.0, 0.0, 1.0, -1.0]);
        let mut input = sine(440.0, 48_000, 1, 1500);
        input[100] = f32::NAN;
        assert!(
            resample(48_000, 1, &[&input])
                .iter()
                .all(|sample| sample.abs() <= 1.1)
        );
    }

    #[test]
    fn rates_with_nothing_in_common_are_taken_for_others_close_by() {
        assert_eq!(convenient(44_099, 16_000), (44_099, 16_000));
        assert_eq!(convenient(383_987, 16_000), (383_975, 16_000));
        assert_eq!(convenient(192_000, 44_100), (192_000, 44_100));
        let output = resample(191_999, 1, &[&sine(440.0, 191_999, 1, 500)]);
        assert!(output.len().abs_diff(8_000) <= 1, "{}", output.len());
    }

    #[test]
    fn no_input_makes_no_output() {
        assert!(resample(44_100, 2, &[]).is_empty());
        assert!(resample(44_100, 2, &[&[0.5]]).is_empty());
    }
}
