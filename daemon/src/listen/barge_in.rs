//! Barge-in: a guess within a tenth of a second that a person speaks over the assistant, confirmed while it pauses.
//!
//! Voice activity detection takes 100 to 200 ms to be sure, and twice as long over an echo, of which much is
//! suppressed. Double talk is detected sooner, but is not always a person. A pause after a wrong guess costs little.
//! While it lasts there is no echo: any speech heard then is a person's, even where the echo was removed badly.

use earshot::Detector;

use super::double_talk::DoubleTalk;
use super::echo::Cleaned;
use super::foreground::{decibels, power};
use super::thresholds::Thresholds;
use super::vad::{FRAME, probability};
use crate::sound::resample::samples;

/// Longest pause in which a guess may be confirmed, in ms: [`ECHO_MS`], and time for the onset (`[voice] onset_ms`, 96)
/// of a word that may have just ended. Chosen by hand; all of 20 interruptions are confirmed in it (`barge_in_heard`).
const PAUSE_MS: u32 = 704;

/// Time from the beginning of a pause for which earlier sound may still be heard, in ms: the buffers of loudspeaker and
/// microphone, and most of the room's reverberation. With 60 ms of buffers, 400 ms of reverberation fall by 27 dB in
/// the rest. Chosen by hand.
const ECHO_MS: u32 = 240;

/// Back-off after a false alarm, in ms, and its maximum. It doubles within one speech, because whatever fooled the
/// detector will do so again: above all a dropout, which changes the echo path, and AEC3 takes a second or two to learn
/// the new one. And an assistant that stutters is worse than one that is a little slow to stop. Chosen by hand.
const PATIENCE_MS: u32 = 2000;
const MOST_PATIENCE_MS: u32 = 8000;

/// Watches the canceller's output for a barge-in, for one loudspeaker and one microphone.
pub struct Interruption {
    thresholds: Thresholds,
    double_talk: DoubleTalk,
    detector: Box<Detector>,
    /// Samples that fill no frame yet.
    rest: Cleaned,
    /// Power of the previous frame.
    before: f32,
    /// Samples left of the pause, if there is one.
    pause: Option<usize>,
    /// Samples left of the back-off, and the length of the next one.
    patience: usize,
    next_patience: usize,
}

/// What the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// A person seems to speak: pause.
    Somebody,
    /// The assistant's own voice has died away: any speech now is a person's.
    Quiet,
    /// A false alarm: go on.
    Nobody,
}

impl Interruption {
    pub fn new() -> Self {
        Self::with(Thresholds::default())
    }

    /// One with other thresholds than the usual ones.
    pub fn with(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            double_talk: DoubleTalk::new(thresholds),
            detector: Box::default(),
            rest: Cleaned::default(),
            before: 0.0,
            pause: None,
            patience: 0,
            next_patience: samples(PATIENCE_MS),
        }
    }

    /// Starts over because the assistant begins to speak. The double-talk detector keeps what it has learned.
    pub fn begin(&mut self) {
        self.pause = None;
        self.patience = 0;
        self.next_patience = samples(PATIENCE_MS);
    }

    /// Hears the next sound. `is_person` tells whether speech at a level, in dBFS, may interrupt now.
    pub fn hear(&mut self, sound: &Cleaned, is_person: impl Fn(f32) -> bool) -> Option<Guess> {
        self.rest.append(sound);
        let rest = std::mem::take(&mut self.rest);
        let (captured, _) = rest.captured.as_chunks::<FRAME>();
        let (linear, _) = rest.linear.as_chunks::<FRAME>();
        let mut guess = None;
        for (captured, linear) in captured.iter().zip(linear) {
            let is_somebody = self.is_somebody(captured, linear, &is_person);
            guess = self.decide(is_somebody).or(guess);
        }
        self.rest = rest.after(captured.len() * FRAME);
        guess
    }

    fn is_somebody(
        &mut self,
        captured: &[f32; FRAME],
        linear: &[f32; FRAME],
        is_person: impl Fn(f32) -> bool,
    ) -> bool {
        let is_double = self.double_talk.hear(captured, linear);
        let probability = probability(&mut self.detector, linear);
        let power = power(linear);
        let before = std::mem::replace(&mut self.before, power);
        let level = decibels(f32::midpoint(power, before));
        let Thresholds { speech, quiet, .. } = self.thresholds;
        is_double && probability >= speech && level > quiet && is_person(level)
    }

    fn decide(&mut self, is_somebody: bool) -> Option<Guess> {
        self.patience = self.patience.saturating_sub(FRAME);
        match &mut self.pause {
            Some(left) if *left > FRAME => {
                *left -= FRAME;
                let quiet = samples(PAUSE_MS - ECHO_MS);
                if (quiet..quiet + FRAME).contains(left) {
                    return Some(Guess::Quiet);
                }
            }
            Some(_) => {
                self.pause = None;
                self.patience = self.next_patience;
                self.next_patience = (2 * self.next_patience).min(samples(MOST_PATIENCE_MS));
                return Some(Guess::Nobody);
            }
            None if is_somebody && self.patience == 0 => {
                self.pause = Some(samples(PAUSE_MS));
                return Some(Guess::Somebody);
            }
            None => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::echo::Canceller;
    use super::*;
    use crate::sound::playback::FarEnd;
    use crate::sound::resample::RATE;
    use crate::sound::testing::{noise, silence, spoken};

    /// Delay of the echo, and lengths of the pieces in which sound is played and captured, in ms.
    const DELAY_MS: u32 = 90;
    const PLAYED_MS: u32 = 20;
    const CAPTURED_MS: u32 = 32;

    /// `played` as a microphone hears it: 10 dB quieter, with reflections from the walls.
    fn echoed(played: &[f32]) -> Vec<f32> {
        let walls = [
            (0, 0.3),
            (130, 0.1),
            (410, -0.08),
            (1100, 0.06),
            (2300, -0.03),
        ];
        let mut heard = vec![0.0; samples(DELAY_MS) + played.len() + 2300];
        for (later, gain) in walls {
            let heard = &mut heard[samples(DELAY_MS) + later..];
            for (sample, played) in heard.iter_mut().zip(played) {
                *sample += gain * played;
            }
        }
        heard
    }

    /// The guesses, each with its time in samples, and the canceller's linear output, when the assistant says `played`
    /// and the microphone captures `captured`.
    fn guesses(played: &[f32], captured: &[f32]) -> (Vec<(usize, Guess)>, Vec<f32>) {
        let (mut loudspeaker, far_end) = FarEnd::without_device(RATE);
        let mut canceller = Canceller::new(far_end);
        let mut interruption = Interruption::new();
        let mut sound = Cleaned::default();
        let (mut guesses, mut linear) = (Vec::new(), Vec::new());
        let mut played = played.chunks(samples(PLAYED_MS));
        let mut until = 0;
        for (nth, piece) in captured.chunks(samples(CAPTURED_MS)).enumerate() {
            let now = (nth + 1) * samples(CAPTURED_MS);
            while until + samples(PLAYED_MS) <= now {
                until += samples(PLAYED_MS);
                for sample in played.next().unwrap_or(&[0.0; 320]) {
                    loudspeaker.push(*sample).unwrap();
                }
            }
            sound.clear();
            canceller.clean(piece, &mut sound);
            linear.extend_from_slice(&sound.linear);
            let guess = interruption.hear(&sound, |_| canceller.knows_room());
            guesses.extend(guess.map(|guess| (now, guess)));
        }
        (guesses, linear)
    }

    fn speech() -> Vec<f32> {
        let sentence =
            spoken("I have found three recipes for you and the first one is a soup of tomatoes");
        [
            sentence.clone(),
            silence(200),
            sentence.clone(),
            silence(350),
            sentence,
        ]
        .concat()
    }

    #[test]
    fn the_assistant_does_not_take_its_own_voice_for_somebody() {
        let played = speech();
        let (guesses, linear) = guesses(&played, &echoed(&played));
        assert_eq!(guesses, []);
        let power = |sound: &[f32]| sound.iter().map(|it| it * it).sum::<f32>();
        let last = linear.len() / 2;
        let left = power(&linear[last..]) / power(&echoed(&played)[last..]);
        assert!(left < 0.1, "{left} of the echo is left");
    }

    #[test]
    fn somebody_who_speaks_over_it_is_noticed_soon_and_left_whole() {
        let played = speech();
        let mut captured = echoed(&played);
        let words = spoken("turn on the kitchen light");
        let begin = samples(6000);
        for (sample, word) in captured[begin..].iter_mut().zip(&words) {
            *sample += 0.4 * word;
        }
        let (guesses, linear) = guesses(&played, &captured);
        let (at, guess) = guesses[0];
        assert_eq!(guess, Guess::Somebody);
        let late = (at.saturating_sub(begin)) * 1000 / RATE as usize;
        assert!(at > begin && late < 150, "{late} ms");
        // The test does not pause the assistant, so the end of the words is in an echo too.
        assert!(
            guesses[1..]
                .iter()
                .any(|(_, guess)| *guess == Guess::Nobody)
        );
        let near = begin..begin + words.len();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (heard, words) = (&linear[near], &words[..]);
        let likeness = dot(heard, words) / (dot(heard, heard) * dot(words, words)).sqrt();
        assert!(likeness > 0.85, "{likeness}");
    }

    #[test]
    fn a_noise_in_the_room_is_nobody() {
        let played = speech();
        let mut captured = echoed(&played);
        let hiss = noise(0.02, captured.len() * 1000 / RATE as usize);
        for (sample, hiss) in captured.iter_mut().zip(&hiss) {
            *sample += hiss;
        }
        assert_eq!(guesses(&played, &captured).0, []);
    }
}
