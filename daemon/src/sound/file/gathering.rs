//! The sound of a file as it is decoded: at 16 kHz, one channel, no longer than the model can hear.

use super::error::{FileError, check};
use crate::sound::LONGEST_SECONDS;
use crate::sound::mix::{Balance, Mix};
use crate::sound::resample::{RATE, Resampler, samples};

/// How much longer compressed sound may be than the model can hear, in ms: encoders pad their first and last packets
/// with silence, which is left out.
const FILLED_UP_MS: u32 = 300;

/// The growing sound of a file.
pub(super) struct Gathering {
    mix: Mix,
    /// Made when the first packet shows the true rate and number of channels, and anew when they change.
    part: Option<Part>,
    /// The best mix for the recording: that of the first part for which it is not the mean.
    best: Mix,
    samples: Vec<f32>,
}

/// Sound of one rate and number of channels.
struct Part {
    resampler: Resampler,
    balance: Balance,
    rate: u32,
    channels: usize,
}

impl Gathering {
    /// Mixes every frame by `mix`.
    pub(super) fn new(mix: Mix) -> Self {
        // Room for the longest sound: growth would copy it again and again, and take twice the memory.
        let most = samples(LONGEST_SECONDS * 1000 + 2 * FILLED_UP_MS);
        Self {
            mix,
            part: None,
            best: Mix::Mean,
            samples: Vec::with_capacity(most),
        }
    }

    /// Takes interleaved samples.
    ///
    /// # Errors
    /// When rate or channels are not believed.
    pub(super) fn append(
        &mut self,
        rate: u32,
        channels: usize,
        interleaved: &[f32],
    ) -> Result<(), FileError> {
        let is_same = |part: &Part| (part.rate, part.channels) == (rate, channels);
        if !self.part.as_ref().is_some_and(is_same) {
            check(rate, channels)?;
            self.end_part();
            self.part = Some(Part::new(self.mix, rate, channels));
        }
        if let Some(part) = &mut self.part {
            part.balance.hear(interleaved);
            part.resampler.push(interleaved, &mut self.samples);
        }
        Ok(())
    }

    /// Milliseconds so far.
    pub(super) fn milliseconds(&self) -> u64 {
        self.samples.len() as u64 * 1000 / u64::from(RATE)
    }

    /// Whether there is none yet.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Whether it is longer than the model can hear. `is_exact`: no encoder padded it.
    pub(super) fn is_too_long(&self, is_exact: bool) -> bool {
        let more = if is_exact { 0 } else { FILLED_UP_MS };
        self.samples.len() > samples(LONGEST_SECONDS * 1000 + more)
    }

    /// The sound, and the mix that suits it best.
    pub(super) fn finish(mut self) -> (Vec<f32>, Mix) {
        self.end_part();
        self.samples.truncate(samples(LONGEST_SECONDS * 1000));
        (self.samples, self.best)
    }

    /// Ends a part of one rate and number of channels: appends what is still in the resampler.
    pub(super) fn end_part(&mut self) {
        let Some(part) = self.part.take() else {
            return;
        };
        part.resampler.flush(&mut self.samples);
        if self.best == Mix::Mean {
            self.best = part.balance.best();
        }
    }
}

impl Part {
    /// `channels` has passed [`check`].
    fn new(mix: Mix, rate: u32, channels: usize) -> Self {
        let count = u16::try_from(channels).unwrap_or(1);
        let mix = match mix {
            Mix::Only(channel) if channel < count => mix,
            _ => Mix::Mean,
        };
        Self {
            resampler: Resampler::new(rate, count).hearing(mix),
            balance: Balance::new(count),
            rate,
            channels,
        }
    }
}
