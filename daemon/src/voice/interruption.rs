//! Does somebody speak over the assistant? A guess within a tenth of a second, to be made sure of while it pauses.
//!
//! Voice activity detection takes 100 to 200 ms to be sure, and twice as long over an echo, of which much is
//! suppressed; double talk is detected sooner, and is not always somebody. A pause costs little if the guess was wrong,
//! and while it lasts there is no echo to be mistaken for somebody: whoever is heard then is somebody, even where the
//! echo was not taken out well.

use earshot::Detector;

use super::double_talk::DoubleTalk;
use super::echo::Cleaned;
use super::foreground::{decibels, power};
use super::resample::samples;
use super::vad::{FRAME, probability};

/// Nobody who wants to be heard is quieter, in dB of full scale; between two words it is that quiet.
const QUIET: f32 = -50.0;

/// Probability of speech in what the linear filter leaves, which is also a little of its own voice: not everything that
/// can be heard beside it is worth a pause.
const SPEECH: f32 = 0.5;

/// How long the assistant pauses at most, in ms, for somebody to be heard.
const PAUSE_MS: u32 = 704;

/// How long after the pause began its last sound may still be heard, in ms: the buffers of loudspeaker and microphone,
/// and most of what the room gives back.
const ECHO_MS: u32 = 240;

/// How long after a pause in which nobody was heard there is no other, in ms: twice as long each time in one speech, up
/// to the second. What was mistaken for somebody is so again: above all, when the devices lost some sound, the way of
/// the echo is another one, which AEC3 takes a second or two to learn. And an assistant that stutters is worse than one
/// that is a little slow to stop.
const PATIENCE_MS: u32 = 2000;
const MOST_PATIENCE_MS: u32 = 8000;

/// Follows what the canceller leaves, of one loudspeaker in one microphone.
pub(super) struct Interruption {
    double_talk: DoubleTalk,
    detector: Box<Detector>,
    /// What fills no frame yet.
    rest: Cleaned,
    /// Power of the frame before.
    before: f32,
    /// Samples that the pause may still take, if there is one.
    pause: Option<usize>,
    /// Samples until there may be another, and how many it will be next time.
    patience: usize,
    next_patience: usize,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    /// Somebody seems to speak: pause.
    Somebody,
    /// The assistant's own voice is gone: whoever speaks now is somebody.
    Quiet,
    /// It was nobody: go on.
    Nobody,
}

impl Interruption {
    pub(super) fn new() -> Self {
        Self {
            double_talk: DoubleTalk::new(),
            detector: Box::default(),
            rest: Cleaned::default(),
            before: 0.0,
            pause: None,
            patience: 0,
            next_patience: samples(PATIENCE_MS),
        }
    }

    /// The assistant begins to speak. What is left of its voice is remembered from the last time.
    pub(super) fn begin(&mut self) {
        self.pause = None;
        self.patience = 0;
        self.next_patience = samples(PATIENCE_MS);
    }

    /// Hears the next sound. `is_person` says whether somebody at so many dB of full scale may interrupt now.
    pub(super) fn hear(
        &mut self,
        sound: &Cleaned,
        is_person: impl Fn(f32) -> bool,
    ) -> Option<Guess> {
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
        is_double && probability >= SPEECH && level > QUIET && is_person(level)
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
    use super::*;
    use crate::voice::echo::Canceller;
    use crate::voice::resample::RATE;
    use crate::voice::sounds::{noise, silence, spoken};
    use crate::voice::speech::FarEnd;

    /// How late the echo comes, and in which pieces sound is played and captured, in ms.
    const DELAY_MS: u32 = 90;
    const PLAYED_MS: u32 = 20;
    const CAPTURED_MS: u32 = 32;

    /// What a microphone hears of this: 10 dB quieter, and with the walls.
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

    /// The assistant says `played`, and the microphone captures `captured`: what is guessed, and when, in samples; and
    /// what the canceller leaves for the model.
    fn guesses(played: &[f32], captured: &[f32]) -> (Vec<(usize, Guess)>, Vec<f32>) {
        let (mut loudspeaker, far_end) = FarEnd::of_test(RATE);
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
        // It never paused here, so that the last of it is in an echo too.
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
