//! The stream against mtmd on the whole clip, and what it promises beyond that.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::engine::audio::mel::Floor;
use crate::engine::audio::{Clip, mtmd};
use crate::engine::model::Model;

/// A model's encoder twice: as a stream, and as mtmd computes it, which is the truth here.
struct Both {
    stream: Arc<Encoder>,
    whole: Mutex<mtmd::Encoder>,
}

static NANO: LazyLock<Both> = LazyLock::new(|| Both::load(&nano("gguf"), &nano("mmproj.gguf"), 1));

fn nano(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../models/nano/nano-f16.{kind}"))
}

impl Both {
    fn load(text: &Path, mmproj: &Path, threads: i32) -> Self {
        let config = config::Model {
            text: text.into(),
            mmproj: mmproj.into(),
            gpu_layers: 0,
            repack: false,
        };
        let model = Arc::new(Model::load(&config, threads).unwrap());
        let width = usize::try_from(model.llama().n_embd()).unwrap();
        Self {
            stream: Encoder::load(mmproj, width, threads, Floor::Least).unwrap(),
            whole: Mutex::new(mtmd::Encoder::new(&model).unwrap()),
        }
    }

    fn whole(&self, samples: &[f32]) -> Vec<f32> {
        let clip = Clip::new(samples.to_vec()).unwrap();
        let mut encoder = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        clip.encode(&mut encoder).unwrap();
        clip.soft_tokens().unwrap().to_vec()
    }

    /// Pushes `samples` in parts of the given sizes and takes at most so many rows after each, both
    /// over and over.
    fn streamed(&self, samples: &[f32], parts: &[usize], most: &[usize]) -> Vec<f32> {
        let mut stream = Stream::new(&self.stream);
        let mut most = most.iter().copied().cycle();
        let mut take = |stream: &mut Stream| stream.take(most.next().unwrap()).unwrap();
        let mut soft_tokens = Vec::new();
        let mut left = samples;
        for part in parts.iter().copied().cycle() {
            let (now, later) = left.split_at(part.min(left.len()));
            stream.push(now);
            left = later;
            if left.is_empty() {
                break;
            }
            soft_tokens.extend(take(&mut stream).unwrap_or_default());
        }
        stream.finish();
        while let Some(rows) = take(&mut stream) {
            soft_tokens.extend(rows);
        }
        assert_eq!(stream.ready(), 0);
        assert_eq!(stream.heard() * self.stream.width(), soft_tokens.len());
        soft_tokens
    }

    /// Checks one way of hearing `samples` against mtmd.
    fn check(&self, samples: &[f32], parts: &[usize], most: &[usize]) {
        let streamed = self.streamed(samples, parts, most);
        let (cosine, error) = compare(&streamed, &self.whole(samples), self.stream.width());
        let length = samples.len();
        assert!(cosine >= 0.9999, "cosine {cosine} for {length} samples");
        assert!(error <= 1e-3, "error {error} for {length} samples");
    }
}

/// Something like speech: voiced stretches of gliding pitch, noise, and pauses.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn sound(samples: usize, seed: u32) -> Vec<f32> {
    let mut noise = seed.wrapping_mul(2_654_435_761) | 1;
    let mut phase = 0f32;
    (0..samples)
        .map(|nth| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let hiss = noise as f32 / u32::MAX as f32 - 0.5;
            let time = nth as f32 / 16_000.0 + (seed % 7) as f32;
            phase += 0.05 * (1.0 + 0.3 * (time * 5.1).sin());
            let voice: f32 = (1..20).map(|k| (phase * k as f32).sin() / k as f32).sum();
            match ((time * 6.0) as u32 + seed) % 5 {
                0 => 0.0,
                1 => 0.2 * hiss,
                _ => 0.2 * voice * (time * 9.0).sin() + 0.003 * hiss,
            }
        })
        .collect()
}

/// Least cosine, and greatest difference as a part of the row's greatest number, over all rows.
#[expect(clippy::cast_possible_truncation)]
fn compare(ours: &[f32], theirs: &[f32], width: usize) -> (f32, f32) {
    assert_eq!(ours.len() / width, theirs.len() / width, "rows");
    let rows = ours.chunks(width).zip(theirs.chunks(width));
    rows.fold((1f32, 0f32), |(cosine, error), (ours, theirs)| {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let products = a.iter().zip(b);
            products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let norm = (dot(ours, ours) * dot(theirs, theirs)).sqrt();
        let most = theirs.iter().fold(0f32, |most, x| most.max(x.abs()));
        let off = ours.iter().zip(theirs);
        let off = off.fold(0f32, |off, (a, b)| off.max((a - b).abs()));
        (
            cosine.min((dot(ours, theirs) / norm) as f32),
            error.max(off / most),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// A quarter of the clips is shorter than half a second, where every edge is near.
    #[test]
    fn any_pushes_and_any_pieces_give_the_soft_tokens_of_the_whole_clip(
        samples in prop_oneof![1 => 1600..8000usize, 3 => 1600..=480_000usize],
        parts in prop::collection::vec(prop_oneof![1..700usize, 700..20_000usize], 1..6),
        most in prop::collection::vec(1..60usize, 1..6),
        seed in 0..1000u32,
    ) {
        NANO.check(&sound(samples, seed), &parts, &most);
    }
}

#[test]
fn every_way_a_clip_can_end_makes_as_many_soft_tokens_as_mtmd_does() {
    for frames in 10..20 {
        for beyond in [0, 1, 80, 159] {
            NANO.check(&sound(frames * 160 + beyond, 5), &[1000], &[3]);
        }
    }
    NANO.check(&sound(480_000, 6), &[512], &[12]);
}

#[test]
fn every_size_of_pieces_gives_the_same() {
    let samples = sound(64_000, 7);
    for rows in PIECES {
        NANO.check(&samples, &[samples.len()], &[rows]);
    }
}

#[test]
fn a_soft_token_is_there_with_the_sample_after_its_own() {
    let mut stream = Stream::new(&NANO.stream);
    stream.push(&sound(640, 8));
    assert_eq!(stream.ready(), 0);
    stream.push(&[0.1]);
    assert_eq!(stream.ready(), 1);
    stream.push(&sound(640, 9));
    assert_eq!(stream.ready(), 2);
    assert_eq!(stream.take(0).unwrap(), None);
}

#[test]
fn a_clone_is_a_place_to_come_back_to() {
    let samples = sound(60_000, 10);
    let (before, after) = samples.split_at(30_000);
    let mut stream = Stream::new(&NANO.stream);
    stream.push(before);
    while stream.take(12).unwrap().is_some() {}
    let mut kept = stream.clone();
    // A false alarm, then what really came.
    stream.push(&sound(40_000, 11));
    while stream.take(12).unwrap().is_some() {}
    kept.push(after);
    kept.finish();
    let mut rows = kept.heard() * NANO.stream.width();
    let whole = NANO.streamed(&samples, &[30_000], &[12]);
    while let Some(soft_tokens) = kept.take(12).unwrap() {
        let expected = &whole[rows..rows + soft_tokens.len()];
        let (cosine, error) = compare(&soft_tokens, expected, NANO.stream.width());
        assert!(cosine >= 0.9999 && error <= 1e-3, "{cosine} {error}");
        rows += soft_tokens.len();
    }
    assert_eq!(rows, whole.len());
}

#[test]
fn utterances_under_way_at_once_do_not_disturb_each_other() {
    let sounds = [sound(50_000, 12), sound(50_000, 13)];
    let mut streams = [Stream::new(&NANO.stream), Stream::new(&NANO.stream)];
    let mut heard = [Vec::new(), Vec::new()];
    for start in (0..50_000).step_by(5000) {
        for ((stream, sound), heard) in streams.iter_mut().zip(&sounds).zip(&mut heard) {
            stream.push(&sound[start..start + 5000]);
            heard.extend(stream.take(12).unwrap().unwrap_or_default());
        }
    }
    for (sound, heard) in sounds.iter().zip(&heard) {
        let whole = &NANO.whole(sound)[..heard.len()];
        let (cosine, error) = compare(heard, whole, NANO.stream.width());
        assert!(cosine >= 0.9999 && error <= 1e-3, "{cosine} {error}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for samples in [0, 1] {
        let mut stream = Stream::new(&NANO.stream);
        stream.push(&vec![0.5; samples]);
        stream.finish();
        assert_eq!(stream.take(48).unwrap(), None);
    }
}

/// By hand, on quiet cores, with the files that `cargo xtask shape` makes:
/// `GEMMAD_SHAPE=FOLDER cargo test -p gemmad --lib full_size -- --ignored --nocapture`.
#[test]
#[ignore = "needs a model of full size"]
fn full_size_encoders_are_exact_and_quick() {
    let folder = PathBuf::from(std::env::var_os("GEMMAD_SHAPE").expect("GEMMAD_SHAPE is set"));
    let (text, mmproj) = (
        folder.join("e2b-q4_0.gguf"),
        folder.join("e2b-q4_0.mmproj.gguf"),
    );
    for threads in [1, 2] {
        let both = Both::load(&text, &mmproj, threads);
        for (seed, samples) in [(1, 1600), (2, 33_333), (3, 160_000)] {
            let samples = sound(samples, seed);
            let start = Instant::now();
            let whole = both.whole(&samples);
            println!(
                "{threads} threads, {} samples: mtmd {:?}",
                samples.len(),
                start.elapsed()
            );
            for rows in PIECES {
                both.stream.multiply_adds(rows).unwrap();
                let start = Instant::now();
                let ours = both.streamed(&samples, &[samples.len()], &[rows]);
                let spent = start.elapsed();
                let each = spent / u32::try_from(whole.len() / 1536 / rows).unwrap().max(1);
                let (cosine, error) = compare(&ours, &whole, both.stream.width());
                println!("  pieces of {rows}: {spent:?}, {each:?} each; {cosine} {error}");
            }
        }
    }
}
