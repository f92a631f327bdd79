//! The path of an open microphone's sound to utterances: 16 kHz mono, without the assistant's own voice, and with the
//! time of its capture.

use std::time::{Duration, Instant};

use super::echo::{Canceller, Cleaned};
use super::enhancer::Enhancer;
use super::segmenter::Segmenter;
use crate::config::Config;
use crate::sound::capture::Capture;
use crate::sound::device::Wanted;
use crate::sound::mix::{Balance, Mix};
use crate::sound::resample::{RATE, Resampler, samples};

/// Sound kept from before a wake word was spotted, in ms. A word is spotted some time after it has ended, and a person
/// who goes on in one breath has begun by then.
const TAIL_MS: u32 = 160;

/// Sound after which the two channels of a microphone are checked for cancelling each other, in s.
const JUDGED_AFTER: f64 = 0.25;

/// The path from one open microphone to utterances.
pub struct Stream {
    resampler: Resampler,
    /// The balance of its two channels, while they are mixed.
    balance: Option<Balance>,
    /// Makes utterances of it.
    pub segmenter: Segmenter,
    rate: u32,
    channels: u16,
    /// Samples captured so far, of all channels.
    captured: u64,
    /// Losses of the microphone so far, and those that were logged already.
    losses: (u64, u64),
    logged: (u64, u64),
    raw: Vec<f32>,
    /// The samples read last.
    pub samples: Vec<f32>,
    /// The same without the assistant's own voice.
    pub sound: Cleaned,
    enhancer: Option<Enhancer>,
    /// The last [`TAIL_MS`] of samples.
    pub tail: Vec<f32>,
}

impl Stream {
    /// The path from `capture`, before its first sample.
    pub fn new(config: &Config, capture: &Capture) -> Self {
        let mix = heard(Wanted::from(&config.voice).channel, capture.channels);
        Self {
            resampler: Resampler::new(capture.rate, capture.channels).hearing(mix),
            balance: (mix == Mix::Mean && capture.channels == 2)
                .then(|| Balance::new(capture.channels)),
            segmenter: Segmenter::new(&config.voice),
            rate: capture.rate,
            channels: capture.channels,
            captured: 0,
            losses: (0, 0),
            logged: (0, 0),
            raw: Vec::new(),
            samples: Vec::new(),
            sound: Cleaned::default(),
            enhancer: Enhancer::new(&config.voice),
            tail: Vec::new(),
        }
    }

    /// Applies this configuration to the sound that comes next.
    pub fn configure(&mut self, config: &Config) {
        self.segmenter = Segmenter::new(&config.voice);
        self.enhancer = Enhancer::new(&config.voice);
        self.captured = 0;
    }

    /// Reads the captured sound into `samples`, 16 kHz mono; returns whether nothing was lost since the last call.
    pub fn read(&mut self, capture: &mut Capture) -> bool {
        self.raw.clear();
        self.samples.clear();
        capture.read(&mut self.raw);
        self.captured += self.raw.len() as u64;
        self.judge();
        self.resampler.push(&self.raw, &mut self.samples);
        let losses = capture.losses();
        std::mem::replace(&mut self.losses, losses) == losses
    }

    /// Hears one channel alone from now on if the two that are mixed cancel each other. The wiring of a microphone does
    /// not change while it is open.
    fn judge(&mut self) {
        let Some(balance) = &mut self.balance else {
            return;
        };
        balance.hear(&self.raw);
        if balance.frames() < JUDGED_AFTER * f64::from(self.rate) {
            return;
        }
        if let Some(mix) = balance.cancelled() {
            self.resampler.hear(mix);
            self.balance = None;
            log::warn!(
                "the microphone's channels cancel each other, as if one were inverted: using only the louder one; \
                 set `channel` in [voice] to choose"
            );
        } else {
            balance.restart();
        }
    }

    /// Removes the assistant's own voice, if there is a canceller, and enhances the rest.
    pub fn clean(&mut self, canceller: Option<&mut Canceller>) {
        self.sound.clear();
        match canceller {
            Some(canceller) => canceller.clean(&self.samples, &mut self.sound),
            None => self.sound.take(&self.samples),
        }
        if let Some(enhancer) = &mut self.enhancer {
            enhancer.enhance(&mut self.sound.linear);
        }
        self.tail.extend_from_slice(&self.sound.linear);
        self.tail
            .drain(..self.tail.len().saturating_sub(samples(TAIL_MS)));
    }

    /// When the 16 kHz sample at `position` was captured, if the last one that was read was
    /// captured at `last`.
    pub fn time_of(&self, position: u64, last: Instant) -> Instant {
        let frames = self.captured / u64::from(self.channels.max(1));
        let since = duration(frames, self.rate).saturating_sub(duration(position, RATE));
        last.checked_sub(since).unwrap_or(last)
    }

    /// Logs, once, what the microphone lost since the last call.
    pub fn log_losses(&mut self) {
        let before = std::mem::replace(&mut self.logged, self.losses);
        if before != self.losses {
            log::warn!(
                lost_samples = self.losses.0 - before.0,
                overruns = self.losses.1 - before.1;
                "sound was lost: the machine is too busy to listen"
            );
        }
    }
}

/// The mix for `[voice] channel`: the channel it names, counted from 1, alone. With 0, up to two channels are mixed; of
/// more, the first is heard, where microphone arrays put the result of the others.
fn heard(channel: u16, channels: u16) -> Mix {
    match (channel, channels) {
        (0, 0..=2) => Mix::Mean,
        (channel, _) => Mix::Only(channel.saturating_sub(1)),
    }
}

/// Duration of `frames` frames.
fn duration(frames: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(frames / rate) + Duration::from_nanos(frames % rate * 1_000_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_that_was_chosen_is_heard_and_else_the_mix_of_two_or_the_first_of_many() {
        assert_eq!(heard(0, 1), Mix::Mean);
        assert_eq!(heard(0, 2), Mix::Mean);
        assert_eq!(heard(0, 6), Mix::Only(0));
        assert_eq!(heard(1, 2), Mix::Only(0));
        assert_eq!(heard(5, 6), Mix::Only(4));
    }

    #[test]
    fn durations_do_not_drift_or_overflow() {
        assert_eq!(duration(0, 44_100), Duration::ZERO);
        assert_eq!(
            duration(44_100 * 1_000_000_000 + 441, 44_100).as_millis(),
            1_000_000_000_010
        );
    }
}
