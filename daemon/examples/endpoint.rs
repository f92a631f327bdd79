//! Measures endpoints in rooms of several kinds: commands are mixed into the sound of a room, and segmented as by the
//! daemon. It runs faster than real time, because no clock is involved. Prints one JSON object per command and room:
//!
//! ```json
//! {"room":"television","delay_ms":840.0,"cut_off":false}
//! ```
//!
//! `delay_ms` is from the last sound of the command to the end of the utterance, and null if that does not come
//! within 3 s. `cut_off` says whether an utterance ended while the command was being spoken.

#![expect(
    clippy::cast_precision_loss,
    reason = "levels, and times of some seconds"
)]

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use gemmad::config;
use gemmad::listen::{Segment, Segmenter};
use gemmad::sound::SAMPLE_RATE;
use gemmad::sound::decode;
use serde_json::{Value, json};

/// Sound of the room before the command, in samples: 21 s, the time needed to learn a background.
const BEFORE: usize = 21 * RATE;

/// Sound of the room after the command, in samples: 3 s.
const AFTER: usize = 3 * RATE;

/// Samples per push: a frame of the voice-activity detector.
const PUSH: usize = 256;

const RATE: usize = SAMPLE_RATE as usize;

#[derive(Debug, Parser)]
struct Args {
    /// Manifest of the commands: lines of JSON with `audio`, a path relative to the manifest.
    #[arg(long)]
    commands: PathBuf,
    /// Manifest of the television's speech, in the same format.
    #[arg(long)]
    television: PathBuf,
    /// Number of commands.
    #[arg(long, default_value_t = 120)]
    count: usize,
    /// Joins two commands with this much silence between them, in ms, like a speaker who hesitates; 0: single commands.
    #[arg(long, default_value_t = 0)]
    pause_ms: usize,
}

/// A background.
#[derive(Debug, Clone, Copy)]
enum Room {
    Quiet,
    /// Steady noise, 15 dB below the speech.
    Noise,
    /// Continuous speech of others, 10 dB below the command.
    Television,
    /// Quiet, with a distant speaker: the command 26 dB below the recording, and noise 25 dB below that.
    Far,
}

impl Room {
    const ALL: [(Self, &str); 4] = [
        (Self::Quiet, "quiet"),
        (Self::Noise, "noise"),
        (Self::Television, "television"),
        (Self::Far, "far"),
    ];

    /// Level of the background relative to the speech, as a factor of amplitude.
    fn level(self) -> f32 {
        let decibels = match self {
            Self::Quiet => -60.0,
            Self::Noise => -15.0,
            Self::Television => -10.0,
            Self::Far => -25.0,
        };
        10_f32.powf(decibels / 20.0)
    }

    /// Gain of both speech and background, for the distance.
    fn distance(self) -> f32 {
        match self {
            Self::Far => 0.05,
            _ => 1.0,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let commands = sounds(&args.commands)?;
    let others = sounds(&args.television)?.concat();
    let noise = noise(BEFORE + AFTER + 10 * RATE);
    ensure!(
        !commands.is_empty() && !others.is_empty(),
        "a manifest is empty"
    );
    let pause = RATE * args.pause_ms / 1000;
    for (nth, command) in commands.iter().take(args.count).enumerate() {
        let command = trimmed(command);
        let next = trimmed(&commands[(nth + 1) % commands.len()]);
        let command = match pause {
            0 => command.to_vec(),
            _ => [command, &vec![0.0; pause], next].concat(),
        };
        for (room, name) in Room::ALL {
            let background = match room {
                Room::Quiet | Room::Noise | Room::Far => &noise,
                Room::Television => &others,
            };
            let background = background.iter().cycle().skip(nth * 7 * RATE);
            let mut sound = in_room(&command, background, room.level());
            for sample in &mut sound {
                *sample *= room.distance();
            }
            println!("{}", endpoint(&sound, command.len(), name));
        }
    }
    Ok(())
}

/// The sounds of a manifest.
fn sounds(manifest: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let lines = std::fs::read_to_string(manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let sound = |line| {
        let line: Value = serde_json::from_str(line)?;
        let path = line["audio"].as_str().context("a line has no `audio`")?;
        let path = manifest.with_file_name(path);
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        Ok(decode(&file)?.samples)
    };
    lines.lines().map(sound).collect()
}

/// A command without the silence around it.
fn trimmed(sound: &[f32]) -> &[f32] {
    let loudest = sound
        .iter()
        .fold(0.0, |most: f32, sample| most.max(sample.abs()));
    let is_sound = |sample: &f32| sample.abs() > 0.02 * loudest;
    let first = sound.iter().position(is_sound).unwrap_or(0);
    let last = sound.iter().rposition(is_sound).unwrap_or(0);
    &sound[first..=last.max(first)]
}

/// The command after [`BEFORE`] samples of a room, whose sound is `level` times as loud as the command.
fn in_room<'a>(command: &[f32], background: impl Iterator<Item = &'a f32>, level: f32) -> Vec<f32> {
    let length = BEFORE + command.len() + AFTER;
    let mut sound: Vec<f32> = background.take(length).copied().collect();
    let gain = level * loudness(command) / loudness(&sound);
    for sample in &mut sound {
        *sample *= gain;
    }
    for (sample, spoken) in sound[BEFORE..].iter_mut().zip(command) {
        *sample += spoken;
    }
    sound
}

/// Root mean square of the louder half of the pieces of 20 ms, which excludes the pauses of speech.
fn loudness(sound: &[f32]) -> f32 {
    let pieces = sound.chunks(RATE / 50);
    let mut powers: Vec<f32> = pieces
        .map(|piece| piece.iter().map(|it| it * it).sum::<f32>() / (RATE / 50) as f32)
        .collect();
    powers.sort_by(f32::total_cmp);
    let half = &powers[powers.len() / 2..];
    (half.iter().sum::<f32>() / half.len() as f32)
        .sqrt()
        .max(1e-6)
}

/// White noise, the same in every run.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

/// The result for one command in one room.
fn endpoint(sound: &[f32], spoken: usize, room: &str) -> Value {
    let mut segmenter = Segmenter::new(&config::Voice::default());
    let (begin, end) = (BEFORE, BEFORE + spoken);
    // Losing the last 100 ms, such as a final consonant, does not count as cut off.
    let nearly = end - RATE / 10;
    let (mut cut_off, mut delay_ms) = (false, None);
    for (nth, piece) in sound.chunks(PUSH).enumerate() {
        let at = nth * PUSH + piece.len();
        let segments = segmenter.push(piece);
        let is_over = segments
            .iter()
            .any(|it| matches!(it, Segment::Ended { .. }));
        if is_over && at > nearly {
            delay_ms = Some((at as f64 - end as f64) * 1000.0 / RATE as f64);
            break;
        }
        cut_off |= is_over && at > begin + RATE / 5;
    }
    json!({"room": room, "delay_ms": delay_ms, "cut_off": cut_off})
}
