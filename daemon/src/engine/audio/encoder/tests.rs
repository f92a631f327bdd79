//! Files of other kinds than the embedded one, compared with mtmd, and counts of operations.

use std::path::PathBuf;

use llama_cpp_sys_2 as sys;

use super::*;
use crate::engine::audio::stream::Stream;
use crate::engine::audio::testing::reference::{Both, FLOATS, NANO, compare, nano, sound};
use crate::engine::audio::testing::written;

/// Checks clips and pieces of several sizes; no number may be off by more than `most_error`.
fn check(both: &Both, most_error: f32) {
    for (seed, samples) in [(1, 1600), (2, 12_345), (3, 160_000)] {
        let samples = sound(samples, seed);
        let whole = both.whole(&samples);
        for rows in PIECES {
            let ours = both.streamed(&samples, &[samples.len()], &[rows]);
            let (cosine, error) = compare(&ours, &whole, both.stream.width());
            println!(
                "{} samples in pieces of {rows}: {cosine} {error}",
                samples.len()
            );
            assert!(cosine >= 0.9999, "cosine {cosine}");
            assert!(error <= most_error, "error {error}");
        }
    }
}

#[test]
fn with_matrices_of_floats_the_difference_is_that_of_floats() {
    check(&FLOATS, 3e-4);
}

#[test]
fn the_ranges_of_clippable_layers_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clamped.gguf");
    let scalars: Vec<_> = [
        ("a.blk.0.ffn_up.input_max", 0.4),
        ("a.blk.0.ffn_up.output_min", -0.3),
        ("a.blk.1.attn_q.output_max", 0.5),
        ("a.blk.1.conv_pw1.input_min", -0.6),
        ("a.blk.2.attn_out.output_max", 0.2),
        ("a.input_projection.output_max", 0.9),
        ("mm.a.input_projection.output_min", -0.7),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    written::as_floats(&nano("mmproj.gguf"), &file, &scalars);
    let clamped = Both::load(&nano("gguf"), &file, 1);
    check(&clamped, 3e-4);
    let samples = sound(32_000, 4);
    let (without, with) = (NANO.whole(&samples), clamped.whole(&samples));
    let (cosine, _) = compare(&with, &without, NANO.stream.width());
    assert!(cosine < 0.99, "the ranges change nothing: {cosine}");
}

#[test]
fn an_encoder_free_projector_goes_through_the_same_door() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encoder-free.gguf");
    let width = NANO.stream.width();
    written::encoder_free(&file, u32::try_from(width).unwrap());
    check(&Both::load(&nano("gguf"), &file, 1), 3e-4);
}

#[test]
fn matrices_in_8_bits_hear_nearly_the_same() {
    let samples = sound(64_000, 11);
    let whole = NANO.whole(&samples);
    let mut stream = Stream::new(&NANO.in_8_bits());
    stream.push(&samples);
    stream.finish();
    let ours: Vec<_> = std::iter::from_fn(|| stream.take(48).unwrap())
        .flatten()
        .collect();
    let (cosine, error) = compare(&ours, &whole, NANO.stream.width());
    assert!(cosine > 0.99, "cosine {cosine}");
    assert!(error > 0.0, "nothing was rounded");
}

#[test]
fn a_text_model_or_another_width_is_refused() {
    let load = |path: PathBuf, width| {
        Encoder::load(&path, width, &Threads::of(1), Options::default()).unwrap_err()
    };
    let error = load(nano("gguf"), 160);
    assert!(matches!(error, LoadError::WrongKind { .. }), "{error}");
    let error = load(nano("mmproj.gguf"), 1536);
    assert!(matches!(error, LoadError::Mismatch { .. }), "{error}");
}

/// A GGUF file of no tensors and these texts.
fn of_texts(texts: &[(&str, &str)]) -> Vec<u8> {
    let sized = |text: &str| [&text.len().to_le_bytes(), text.as_bytes()].concat();
    let is_text = sys::GGUF_TYPE_STRING.to_le_bytes();
    let mut file = [b"GGUF", &3u32.to_le_bytes()[..], &[0; 8]].concat();
    file.extend(texts.len().to_le_bytes());
    for (key, value) in texts {
        file.extend([sized(key), is_text.into(), sized(value)].concat());
    }
    file
}

#[test]
fn a_projector_for_pictures_alone_has_no_encoder_however_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eyes.gguf");
    for (key, kind) in [
        ("clip.vision.projector_type", "gemma4v"),
        ("clip.projector_type", "gemma3"),
    ] {
        let texts = [("general.architecture", "clip"), (key, kind)];
        std::fs::write(&file, of_texts(&texts)).unwrap();
        let error = Encoder::load(&file, 160, &Threads::of(1), Options::default()).unwrap_err();
        assert!(matches!(error, LoadError::NoEncoder { .. }), "{error}");
    }
}

#[test]
fn a_file_that_ends_early_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("short.gguf");
    let bytes = std::fs::read(nano("mmproj.gguf")).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = Encoder::load(&file, 160, &Threads::of(1), Options::default()).unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
}

/// At most 5 % more multiply-adds than mtmd spends on the whole clip, counted in its graph and in ours.
#[test]
fn no_work_is_done_twice() {
    let samples = sound(480_000, 5);
    let whole = NANO.count(&samples);
    let rows = samples.len() as u64 / 640;
    for piece in PIECES {
        let each = NANO.stream.multiply_adds(piece).unwrap();
        let streamed = each * rows / piece as u64;
        #[expect(clippy::cast_precision_loss)]
        let ratio = streamed as f64 / whole as f64;
        println!("pieces of {piece}: {ratio}");
        assert!(ratio <= 1.05, "{ratio} in pieces of {piece}");
    }
}
