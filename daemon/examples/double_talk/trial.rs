//! Trials: many scenes, heard by the daemon's canceller and detectors.

use std::thread;

use gemmad::listen::simulation::{Recording, Thresholds};
use serde::Serialize;

use crate::RATE;
use crate::room::Room;
use crate::scene::{Condition, Person, Scene, Stage};

/// Levels of the person relative to the echo, in dB.
pub const PEOPLE: [f32; 3] = [-6.0, 0.0, 6.0];

/// Level of the echo relative to what is played in a microphone with little gain, in dB.
pub const QUIET: f32 = -25.0;

/// Levels of the echo relative to what is played, in dB.
pub const ECHOES: [f32; 3] = [0.0, -10.0, QUIET];

/// Time after the onset, in ms, within which a person counts as noticed.
const SOON_MS: f64 = 500.0;

/// Silence of the double-talk detector, in s, after which it counts as another alarm.
const APART: f64 = 1.0;

/// Length of a monologue of the assistant with nobody beside it, in s.
const MONOLOGUE: f32 = 60.0;

/// How many scenes there are.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Interruptions for each condition.
    pub interruptions: u64,
    /// Minutes without a person, over all conditions.
    pub minutes: u64,
}

/// One scene to be heard.
#[derive(Debug, Clone, Copy)]
struct Trial {
    condition: Condition,
    nth: u64,
}

/// Who listens.
#[derive(Debug, Clone, Copy)]
pub enum Ear {
    /// The double-talk detector, also before the canceller knows the room.
    Detector,
    /// The barge-in guess.
    Guess,
}

/// An ear with its thresholds.
pub type Listener = (Ear, Thresholds);

/// What was heard in a scene.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Reverberation time, in ms.
    pub reverberation_ms: f32,
    pub echo_db: f32,
    pub distorts: bool,
    /// `None`: nobody was there.
    pub person_db: Option<f32>,
    /// Time in which nobody spoke but the assistant, in s.
    pub seconds: f64,
    /// When the canceller knew the room, in s.
    pub known: f64,
    /// From the person's onset until they were noticed, in ms, if that came soon.
    pub noticed_ms: Option<f64>,
    /// When a person was noticed although nobody spoke, in s.
    pub alarms: Vec<f64>,
}

/// Plays all scenes of a stage to each of the listeners.
pub fn run(stage: &Stage, amount: Amount, listeners: &[Listener]) -> Vec<Vec<Outcome>> {
    let trials = trials(amount);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let heard: Vec<Vec<Outcome>> = thread::scope(|scope| {
        let shares = trials.chunks(trials.len().div_ceil(threads).max(1));
        let workers: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || {
                    let outcomes = share.iter().map(|trial| trial.hear(stage, listeners));
                    outcomes.collect::<Vec<_>>()
                })
            })
            .collect();
        let outcomes = workers.into_iter().map(thread::ScopedJoinHandle::join);
        outcomes
            .flat_map(|outcomes| outcomes.expect("no scene panics"))
            .collect()
    });
    let of_listener = |nth: usize| heard.iter().map(|it| it[nth].clone()).collect();
    (0..listeners.len()).map(of_listener).collect()
}

/// All scenes, each with a number of its own.
fn trials(amount: Amount) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |condition, count| {
        for _ in 0..count {
            let nth = trials.len() as u64;
            trials.push(Trial { condition, nth });
        }
    };
    for echo_db in ECHOES {
        for distorts in [false, true] {
            for room in 0..3 {
                let condition = |person_db| Condition {
                    room,
                    echo_db,
                    distorts,
                    person_db,
                };
                for person_db in PEOPLE {
                    add(condition(Some(person_db)), amount.interruptions);
                }
                // There are eighteen conditions without a person.
                add(condition(None), amount.minutes.div_ceil(18));
            }
        }
    }
    trials
}

impl Trial {
    fn hear(&self, stage: &Stage, listeners: &[Listener]) -> Vec<Outcome> {
        let scene = stage.scene(&self.condition, self.nth, MONOLOGUE);
        let recording = Recording::new(&scene.played, &scene.captured);
        let outcome = |(ear, thresholds): &Listener| {
            let noticed = match ear {
                Ear::Detector => recording.double_talk(*thresholds),
                Ear::Guess => recording.guesses(*thresholds),
            };
            let room = stage.cast.rooms[self.condition.room];
            let known = recording.known_from().map_or(f64::INFINITY, seconds);
            self.outcome(room, &scene, &times(&noticed), known)
        };
        listeners.iter().map(outcome).collect()
    }

    fn outcome(&self, room: Room, scene: &Scene, noticed: &[f64], known: f64) -> Outcome {
        let Condition {
            echo_db,
            distorts,
            person_db,
            ..
        } = self.condition;
        let begin = scene.person.map(|person| person.begin);
        let alone = seconds(begin.unwrap_or(scene.played.len()));
        let mut alarms = apart(noticed);
        alarms.retain(|at| *at < alone);
        Outcome {
            reverberation_ms: 1000.0 * room.reverberation,
            echo_db,
            distorts,
            person_db,
            seconds: alone,
            known,
            noticed_ms: scene.person.and_then(|person| soon(noticed, person)),
            alarms,
        }
    }
}

fn times(positions: &[usize]) -> Vec<f64> {
    positions.iter().map(|at| seconds(*at)).collect()
}

/// Time from the onset of a person to the first of these times, in ms; negative if their first breath was enough.
fn soon(times: &[f64], person: Person) -> Option<f64> {
    let first = times.iter().find(|at| **at >= seconds(person.begin))?;
    let late = 1000.0 * (first - seconds(person.onset));
    (late <= SOON_MS).then_some(late)
}

/// The first of each group of times.
fn apart(times: &[f64]) -> Vec<f64> {
    let mut before = f64::NEG_INFINITY;
    let mut firsts = Vec::new();
    for at in times {
        if at - before > APART {
            firsts.push(*at);
        }
        before = *at;
    }
    firsts
}

#[expect(clippy::cast_precision_loss, reason = "some minutes")]
fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(RATE)
}
