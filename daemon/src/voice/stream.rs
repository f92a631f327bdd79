//! One opened microphone's sound on its way to utterances: 16 kHz mono, without the assistant's own voice, and when it
//! was captured.

use std::time::{Duration, Instant};

use super::capture::Capture;
use super::device::Wanted;
use super::echo::{Canceller, Cleaned};
use super::enhancer::Enhancer;
use super::mix::{Balance, Mix};
use super::resample::{RATE, Resampler, samples};
use super::utterance::Segmenter;
use crate::config::Config;

/// Sound kept from before a wake word was spotted: if the person goes on in one breath they have begun by then, since
/// a word is spotted some time after it has ended.
const TAIL_MS: u32 = 160;

/// Seconds of sound after which it is judged whether the channels of a microphone cancel each other.
const JUDGED_AFTER: f64 = 0.25;

/// The way from one opened microphone to utterances.
pub(super) struct Stream {
    resampler: Resampler,
    /// What its two channels have in common, while they are mixed.
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
    /// What was read last.
    pub samples: Vec<f32>,
    /// The same without the assistant's own voice.
    pub sound: Cleaned,
    enhancer: Option<Enhancer>,
    /// The last [`TAIL_MS`] of samples.
    pub tail: Vec<f32>,
}

impl Stream {
    /// The beginning of what comes from `capture`.
    pub(super) fn new(config: &Config, capture: &Capture) -> Self {
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

    /// Makes utterances as this configuration says from now on, beginning with what comes next.
    pub(super) fn configure(&mut self, config: &Config) {
        self.segmenter = Segmenter::new(&config.voice);
        self.enhancer = Enhancer::new(&config.voice);
        self.captured = 0;
    }

    /// Takes what was captured, as 16 kHz mono in `samples`; says whether it follows on what was taken before, with
    /// nothing lost between.
    pub(super) fn read(&mut self, capture: &mut Capture) -> bool {
        self.raw.clear();
        self.samples.clear();
        capture.read(&mut self.raw);
        self.captured += self.raw.len() as u64;
        self.judge();
        self.resampler.push(&self.raw, &mut self.samples);
        let losses = capture.losses();
        std::mem::replace(&mut self.losses, losses) == losses
    }

    /// Hears one channel alone from now on if the two that are mixed cancel each other. How a microphone is wired does
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
                "the microphone's channels cancel each other, as if one were inverted: only the louder is heard; \
                 `channel` in [voice] chooses one"
            );
        } else {
            balance.restart();
        }
    }

    /// Takes the assistant's own voice out of that, if it is known.
    pub(super) fn clean(&mut self, canceller: Option<&mut Canceller>) {
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
    pub(super) fn time_of(&self, position: u64, last: Instant) -> Instant {
        let frames = self.captured / u64::from(self.channels.max(1));
        let since = duration(frames, self.rate).saturating_sub(duration(position, RATE));
        last.checked_sub(since).unwrap_or(last)
    }

    /// Tells whoever reads the journal, once, that the microphone lost something since the last call.
    pub(super) fn log_losses(&mut self) {
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

/// Which channels are heard if `[voice] channel` says this: the one it names, counted from 1; otherwise one or two are
/// mixed, and of more, as arrays of microphones have, the first is heard, where they put what they made of the others.
fn heard(channel: u16, channels: u16) -> Mix {
    match (channel, channels) {
        (0, 0..=2) => Mix::Mean,
        (channel, _) => Mix::Only(channel.saturating_sub(1)),
    }
}

/// How long so many frames take.
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
