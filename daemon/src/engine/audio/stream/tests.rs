//! The stream against mtmd on the whole clip, and what it promises beyond that.

use std::path::PathBuf;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::engine::audio::reference::{Both, NANO, compare, sound};

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
