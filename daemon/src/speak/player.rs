//! The player: which speech sounds, and how far it has come. It writes to a loudspeaker as much as that takes.
//!
//! No device, no thread and no clock: the time is given, and the loudspeaker is any [`Output`].

use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;

use super::error::SpeechError;
use super::queue::{Piece, Queue, Sound, Speech};
use crate::sound::playback::Playback;
use crate::sound::resample::Resampler;

/// Longest wait of a speech for a loudspeaker that cannot be opened.
const PATIENCE: Duration = Duration::from_secs(2);

/// A loudspeaker that takes samples as it plays them.
pub trait Output {
    /// Samples per second.
    fn rate(&self) -> u32;

    /// Takes as many of the samples as there is room for; returns how many.
    fn write(&mut self, samples: &[f32]) -> usize;

    /// Samples written so far.
    fn written(&self) -> u64;

    /// Whether it has begun to play the samples written from `position` on.
    fn has_reached(&self, position: u64) -> bool;

    /// When everything written was or will be heard to its end; `None` while it has yet to take some of it.
    fn heard(&self) -> Option<Instant>;

    /// Discards the samples written but not yet played.
    fn cut(&mut self);
}

/// The speeches that sound, one after the other.
#[derive(Default)]
pub struct Player {
    speeches: Queue,
    /// The resampler of the current sound, with the rate and channels of that sound.
    resampler: Option<(Resampler, u32, u16)>,
    /// Samples for which the loudspeaker had no room.
    pending: Vec<f32>,
    /// Position, in samples written, at which the current speech began.
    begin: u64,
    /// Whether speech is heard.
    is_speaking: bool,
    /// Since when the first speech waits for a loudspeaker.
    waiting: Option<Instant>,
    /// When the last sample of the first speech is heard.
    heard: Option<Instant>,
}

impl Player {
    /// Whether nothing is to be played.
    pub fn is_empty(&self) -> bool {
        self.speeches.is_empty()
    }

    /// Queues a speech.
    pub fn say(&mut self, speech: Speech) {
        self.speeches.push(speech);
    }

    /// Stops speech `id` at once, or all.
    pub fn stop(&mut self, id: Option<u64>, output: Option<&mut impl Output>) {
        let is_meant = |speech: &mut Speech| id.is_none_or(|id| id == speech.id);
        if self.speeches.first().is_some_and(is_meant) {
            let mut written = 0;
            if let Some(output) = output {
                output.cut();
                written = output.written();
            }
            self.pending.clear();
            self.next(Err(SpeechError::Stopped), written);
        }
        self.end(id, &SpeechError::Stopped);
        self.is_speaking &= self.speeches.has_words();
    }

    /// Begins at a new loudspeaker: the samples written are gone with the one before.
    pub fn begin_anew(&mut self) {
        self.begin = 0;
        self.resampler = None;
        self.pending.clear();
        self.heard = None;
    }

    /// Writes as much sound as there is, and room for. Without an `output` the speeches wait; if there is a reason why
    /// there is none, not for ever.
    pub fn play(&mut self, now: Instant, output: Option<&mut impl Output>, problem: Option<&str>) {
        if let Some(output) = output {
            self.waiting = None;
            self.write(now, output);
            let is_heard = output.has_reached(self.begin);
            // Between two speeches, and between two sentences, speaking goes on.
            self.is_speaking = self.speeches.has_words() && (self.is_speaking || is_heard);
            return;
        }
        self.heard = None;
        if self.speeches.is_empty() {
            self.waiting = None;
        } else {
            self.waiting.get_or_insert(now);
        }
        if let Some(problem) = problem
            && self.given_up(Some(problem)).is_some_and(|at| at <= now)
        {
            self.end(None, &SpeechError::NoLoudspeaker(problem.into()));
            self.waiting = None;
            self.begin_anew();
        }
        self.is_speaking &= self.speeches.has_words();
    }

    /// Whether speech is heard, or goes on in a moment.
    pub fn is_speaking(&self) -> bool {
        self.is_speaking
    }

    /// When [`Self::play`] is due, if neither a speech nor the loudspeaker wakes the thread before.
    pub fn deadline(&self, problem: Option<&str>) -> Option<Instant> {
        [self.heard, self.given_up(problem)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the speeches that wait for a loudspeaker are given up.
    fn given_up(&self, problem: Option<&str>) -> Option<Instant> {
        let since = self.waiting.filter(|_| problem.is_some());
        since.map(|since| since + PATIENCE)
    }

    fn write(&mut self, now: Instant, output: &mut impl Output) {
        self.heard = None;
        while let Some(speech) = self.speeches.first() {
            let written = output.write(&self.pending);
            self.pending.drain(..written);
            if !self.pending.is_empty() {
                // The loudspeaker wakes the thread when it has taken some.
                return;
            }
            if speech.is_written {
                match output.heard() {
                    Some(at) if at <= now => self.next(Ok(()), output.written()),
                    heard => {
                        self.heard = heard;
                        return;
                    }
                }
                continue;
            }
            let volume = speech.volume;
            match speech.pieces.try_recv() {
                Ok(Piece::Sound(sound)) => self.resample(&sound, output.rate()),
                Ok(Piece::Sentence(words)) => {
                    speech.spoken.begin(&words);
                    self.give_way(output.written());
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    speech.is_written = true;
                    self.flush();
                }
            }
            for sample in &mut self.pending {
                *sample *= volume;
            }
        }
    }

    /// Appends a piece of sound at the loudspeaker's rate.
    fn resample(&mut self, sound: &Sound, to: u32) {
        let (rate, channels) = (sound.rate, sound.channels);
        let same = |(_, r, c): &(_, u32, u16)| (*r, *c) == (rate, channels);
        if !self.resampler.as_ref().is_some_and(same) {
            self.flush();
            self.resampler = Some((Resampler::to(to, rate, channels), rate, channels));
        }
        if let Some((resampler, ..)) = &mut self.resampler {
            resampler.push(&sound.samples, &mut self.pending);
        }
    }

    /// Appends the rest of the sound in the resampler.
    fn flush(&mut self) {
        if let Some((resampler, ..)) = self.resampler.take() {
            resampler.flush(&mut self.pending);
        }
    }

    /// Goes on with a more urgent speech between two sentences, if there is any.
    fn give_way(&mut self, written: u64) {
        if self.speeches.give_way() {
            self.flush();
            self.begin = written + self.pending.len() as u64;
        }
    }

    /// Ends the first speech, and goes on to the next, which begins behind the samples `written` so far.
    fn next(&mut self, outcome: Result<(), SpeechError>, written: u64) {
        if let Some(speech) = self.speeches.pop() {
            speech.end(outcome);
        }
        self.resampler = None;
        self.begin = written;
    }

    /// Ends speech `id` with this error, or all.
    fn end(&mut self, id: Option<u64>, error: &SpeechError) {
        for speech in self.speeches.take(id) {
            speech.end(Err(error.clone()));
        }
    }
}

impl Output for Playback {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn write(&mut self, samples: &[f32]) -> usize {
        self.write(samples)
    }

    fn written(&self) -> u64 {
        self.written()
    }

    fn has_reached(&self, position: u64) -> bool {
        self.has_reached(position)
    }

    fn heard(&self) -> Option<Instant> {
        self.heard()
    }

    fn cut(&mut self) {
        self.cut();
    }
}

#[cfg(test)]
mod tests;
