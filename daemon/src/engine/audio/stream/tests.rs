//! The stream compared with mtmd on the whole clip, and its other promises.

use std::path::PathBuf;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::engine::audio::testing::reference::{Both, FLOATS, NANO, compare, sound};
use crate::engine::audio::testing::written;

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
        FLOATS.check(&sound(samples, seed), &parts, &most);
    }
}

#[test]
fn every_way_a_clip_can_end_makes_as_many_soft_tokens_as_mtmd_does() {
    for frames in 10..20 {
        for beyond in [0, 1, 80, 159] {
            FLOATS.check(&sound(frames * 160 + beyond, 5), &[1000], &[3]);
        }
    }
    FLOATS.check(&sound(480_000, 6), &[512], &[12]);
}

#[test]
fn every_size_of_pieces_gives_the_same() {
    let samples = sound(64_000, 7);
    for rows in PIECES {
        FLOATS.check(&samples, &[samples.len()], &[rows]);
    }
}

/// Sound that makes exactly this number of rows.
fn sound_of(rows: usize, seed: u32) -> Vec<f32> {
    sound(rows * 640 + 1, seed)
}

/// Whether the test's spectrogram has llama.cpp's roundings. It has not where llama.cpp's compiler fuses
/// multiplications with additions.
const SAME_ROUNDINGS: bool = cfg!(all(target_arch = "x86_64", not(target_feature = "fma")));

#[test]
fn with_the_same_spectrogram_pieces_of_the_models_blocks_give_the_same_bits() {
    for rows in [12, 24, 72, 744] {
        let samples = sound_of(rows, 14);
        let whole = NANO.whole(&samples);
        for piece in [12, 24, 48] {
            let ours = NANO.streamed_from_their_spectrogram(&samples, piece);
            let (_, error) = compare(&ours, &whole, NANO.stream.width());
            let most = if SAME_ROUNDINGS { 0.0 } else { 1e-3 };
            assert!(error <= most, "{error} in {rows} rows, pieces of {piece}");
        }
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
    // Discarded after a false alarm; `kept` goes on with the real samples.
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

/// The files that `cargo xtask shape` makes, in the folder `GEMMAD_SHAPE`. By hand, on quiet cores:
/// `GEMMAD_SHAPE=FOLDER cargo test -p gemmad --lib full_size -- --ignored --nocapture`.
fn full_size(kind: &str) -> PathBuf {
    let folder = std::env::var_os("GEMMAD_SHAPE").expect("GEMMAD_SHAPE names a folder");
    PathBuf::from(folder).join(format!("e2b-q4_0.{kind}"))
}

#[test]
#[ignore = "needs a model of full size"]
fn full_size_speed() {
    for threads in [1, 2] {
        let both = Both::load(&full_size("gguf"), &full_size("mmproj.gguf"), threads);
        let samples = sound(160_000, 3);
        both.whole(&samples[..1600]);
        let start = Instant::now();
        both.whole(&samples);
        println!("{threads} threads: 250 rows in mtmd {:?}", start.elapsed());
        for rows in PIECES {
            let mut stream = Stream::new(&both.stream);
            stream.push(&samples);
            stream.take(rows).unwrap();
            let start = Instant::now();
            let pieces = (stream.ready() / rows).min(10);
            for _ in 0..pieces {
                stream.take(rows).unwrap();
            }
            let each = start.elapsed() / u32::try_from(pieces).unwrap();
            println!("{threads} threads: piece of {rows} {each:?}");
        }
    }
}

/// Activations are rounded to 8 bits before each BF16 matrix, so sound that differs by a float's last
/// bit moves mtmd's own output by about a hundredth. So two things are checked: with matrices of
/// floats the bound is tight, and with llama.cpp's own spectrogram BF16 gives the same bits.
#[test]
#[ignore = "needs a model of full size"]
fn full_size_encoders_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let floats = folder.path().join("floats.gguf");
    written::as_floats(&full_size("mmproj.gguf"), &floats, &[]);
    for (file, most) in [(floats, 1e-3), (full_size("mmproj.gguf"), 3e-2)] {
        let both = Both::load(&full_size("gguf"), &file, 1);
        let width = both.stream.width();
        for (seed, rows) in [(1, 12), (2, 120)] {
            let samples = sound_of(rows, seed);
            let whole = both.whole(&samples);
            let nudged: Vec<_> = samples.iter().map(|sample| sample * 1.000_000_1).collect();
            let noise = compare(&both.whole(&nudged), &whole, width);
            println!("{rows} rows: mtmd against itself, nudged: {noise:?}");
            for piece in PIECES {
                let ours = both.streamed(&samples, &[samples.len()], &[piece]);
                let (cosine, error) = compare(&ours, &whole, width);
                let ours = both.streamed_from_their_spectrogram(&samples, piece);
                let same = compare(&ours, &whole, width);
                println!("  pieces of {piece}: {cosine} {error}; their spectrogram: {same:?}");
                assert!(cosine >= 0.999 && error <= most);
                assert!(!SAME_ROUNDINGS || piece % 12 != 0 || same.1 == 0.0);
            }
        }
    }
}
