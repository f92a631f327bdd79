//! A scene: what the assistant plays, what its microphone captures, and when a person begins to speak over it.

use std::collections::HashMap;

use fastrand::Rng;
use gemmad_testbed::{Error, speech};

use crate::RATE;
use crate::cast::{Cast, Voice};
use crate::room::{Point, convolve, samples};

/// Distance of the microphone from its loudspeaker, in m, as in a device of both.
const BESIDE: f32 = 0.3;

/// Distance of the person from the microphone, in m.
const AWAY: (f32, f32) = (0.7, 3.0);

/// Least distance of anything from a surface of the room, in m.
const FREE: f32 = 0.3;

/// Delay of the echo in the buffers of both devices, in s: from those of ALSA alone to those of a sound server.
const BUFFERED: (f32, f32) = (0.03, 0.2);

/// Level of the microphone's noise and of the room's, both white, in dBFS.
const NOISE: (f32, f32) = (-75.0, -50.0);

/// Silence between two sentences, in s, besides the third of a second that espeak-ng adds itself.
const BETWEEN: (f32, f32) = (0.0, 0.3);

/// How long the assistant has spoken when a person begins, in s. Its loudspeaker was opened for that speech: nothing is
/// known of the room.
const BEFORE: (f32, f32) = (4.0, 10.0);

/// Sound after the person's onset, in s.
const AFTER: f32 = 1.0;

/// The person's onset is where their level comes within this range of their loudest, in dB, as in `bench barge-in`.
const AUDIBLE: f32 = 20.0;

/// What is varied from scene to scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// Which of the cast's rooms.
    pub room: usize,
    /// Level of the echo in the microphone relative to the sound that is played, in dB.
    pub echo_db: f32,
    /// Whether the loudspeaker distorts.
    pub distorts: bool,
    /// Level of the person relative to the echo, in dB; `None`: nobody is there.
    pub person_db: Option<f32>,
}

/// 16 kHz mono from the moment the loudspeaker was opened.
pub struct Scene {
    pub played: Vec<f32>,
    pub captured: Vec<f32>,
    pub person: Option<Person>,
}

/// When a person speaks, in samples.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// The first sound of them.
    pub begin: usize,
    /// From when on they are heard: see [`AUDIBLE`].
    pub onset: usize,
}

/// All that is said, synthesised.
pub struct Voices(HashMap<(&'static str, &'static str), Vec<f32>>);

impl Voices {
    pub fn of(cast: &'static Cast) -> Result<Self, Error> {
        let mut said = HashMap::new();
        for voice in cast.assistants.iter().chain(&cast.people) {
            for text in voice.texts {
                said.insert((voice.name, *text), speech::say(text, voice.name)?);
            }
        }
        Ok(Self(said))
    }

    fn say(&self, voice: &Voice, nth: usize) -> &[f32] {
        &self.0[&(voice.name, voice.texts[nth % voice.texts.len()])]
    }
}

/// Makes scenes of a cast.
pub struct Stage {
    pub cast: &'static Cast,
    pub voices: Voices,
}

impl Stage {
    /// The scene of this number; without a person it lasts as long as given, in s.
    pub fn scene(&self, condition: &Condition, nth: u64, seconds: f32) -> Scene {
        let mut rng = Rng::with_seed((self.cast.seed << 32) + nth);
        let before = between(&mut rng, BEFORE);
        let length = match condition.person_db {
            Some(_) => before + AFTER,
            None => seconds,
        };
        let played = self.monologue(samples(length), &mut rng);
        let room = self.cast.rooms[condition.room];
        let microphone: Point = room.size.map(|size| within(&mut rng, size));
        let loudspeaker = near(&mut rng, room.size, microphone, (BESIDE, BESIDE));
        let mouth = near(&mut rng, room.size, microphone, AWAY);
        let mut emitted = played.clone();
        if condition.distorts {
            distort(&mut emitted);
        }
        let buffered = samples(between(&mut rng, BUFFERED));
        emitted.splice(0..0, vec![0.0; buffered]);
        emitted.truncate(played.len());
        let mut captured = convolve(&emitted, &room.response(loudspeaker, microphone));
        scale(&mut captured, loudness(&played) + condition.echo_db);
        let person = condition.person_db.map(|person_db| {
            let voice = rng.choice(&self.cast.people).expect("there are five");
            let words = self.voices.say(voice, rng.usize(..voice.texts.len()));
            let mut heard = convolve(words, &room.response(mouth, microphone));
            scale(&mut heard, loudness(&captured) + person_db);
            let onset = samples(before);
            let begin = onset - beginning(&heard);
            add(&mut captured[begin..], &heard);
            Person { begin, onset }
        });
        add_noise(&mut captured, between(&mut rng, NOISE), &mut rng);
        Scene {
            played,
            captured,
            person,
        }
    }

    /// The speech of one of the assistants.
    fn monologue(&self, length: usize, rng: &mut Rng) -> Vec<f32> {
        let voice = rng.choice(&self.cast.assistants).expect("there are four");
        let mut sound = Vec::new();
        let mut nth = rng.usize(..voice.texts.len());
        while sound.len() < length {
            sound.extend_from_slice(self.voices.say(voice, nth));
            sound.resize(sound.len() + samples(between(rng, BETWEEN)), 0.0);
            nth += 1;
        }
        sound.truncate(length);
        sound
    }
}

/// Soft clipping that is complete at the sound's peak, x − x³/3 (J. O. Smith, “Physical Audio Signal Processing”, Cubic
/// Soft Clipper, <https://ccrma.stanford.edu/~jos/pasp/Cubic_Soft_Clipper.html>). A sine of that peak gets a third
/// harmonic of 11 %, as of a small loudspeaker at its limit.
fn distort(sound: &mut [f32]) {
    let peak = sound.iter().fold(0.0, |most: f32, it| most.max(it.abs()));
    for sample in sound {
        let part = *sample / peak;
        *sample = peak * (part - part.powi(3) / 3.0);
    }
}

/// Adds white noise of this level, and clips as a converter does.
fn add_noise(sound: &mut [f32], level: f32, rng: &mut Rng) {
    // The root mean square of uniform noise is its peak over the root of 3.
    let peak = amplitude(level) * 3_f32.sqrt();
    for sample in sound {
        *sample = (*sample + peak * (2.0 * rng.f32() - 1.0)).clamp(-1.0, 1.0);
    }
}

fn add(sound: &mut [f32], other: &[f32]) {
    for (sample, other) in sound.iter_mut().zip(other) {
        *sample += other;
    }
}

/// A random number in this range.
fn between(rng: &mut Rng, (least, most): (f32, f32)) -> f32 {
    least + (most - least) * rng.f32()
}

/// A random coordinate at some distance from both walls.
fn within(rng: &mut Rng, size: f32) -> f32 {
    between(rng, (FREE, size - FREE))
}

/// A random point of the room at a distance from this one, in m.
fn near(rng: &mut Rng, size: Point, from: Point, (least, most): (f32, f32)) -> Point {
    loop {
        let distance = between(rng, (least, most));
        let direction = [(); 3].map(|()| 2.0 * rng.f32() - 1.0);
        let length = direction.iter().map(|it| it * it).sum::<f32>().sqrt();
        let point: Point =
            std::array::from_fn(|axis| from[axis] + distance * direction[axis] / length);
        let is_inside = |axis: usize| (FREE..size[axis] - FREE).contains(&point[axis]);
        if (0..3).all(is_inside) {
            return point;
        }
    }
}

/// Powers of the pieces of 10 ms.
#[expect(clippy::cast_precision_loss, reason = "a hundred or two")]
fn powers(sound: &[f32]) -> Vec<f32> {
    let pieces = sound.chunks(usize::from(RATE) / 100);
    pieces
        .map(|piece| piece.iter().map(|it| it * it).sum::<f32>() / piece.len() as f32)
        .collect()
}

/// Level of the louder half of the pieces of 10 ms, in dBFS, which excludes the pauses of speech.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn loudness(sound: &[f32]) -> f32 {
    let mut powers = powers(sound);
    powers.sort_by(f32::total_cmp);
    let half = &powers[powers.len() / 2..];
    10.0 * (half.iter().sum::<f32>() / half.len() as f32).log10()
}

/// Gives a sound this level, in dBFS.
fn scale(sound: &mut [f32], level: f32) {
    let gain = amplitude(level - loudness(sound));
    for sample in sound {
        *sample *= gain;
    }
}

/// Where a sound becomes audible, in samples.
fn beginning(sound: &[f32]) -> usize {
    let powers = powers(sound);
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let audible = loudest * amplitude(-AUDIBLE).powi(2);
    let first = powers.iter().position(|power| *power > audible);
    first.unwrap_or(0) * usize::from(RATE) / 100
}

/// Decibels as a factor of amplitude.
fn amplitude(decibels: f32) -> f32 {
    10_f32.powf(decibels / 20.0)
}
