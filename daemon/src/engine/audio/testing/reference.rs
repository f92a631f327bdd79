//! Comparisons of the streaming encoder with mtmd on whole clips.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use llama_cpp_sys_2 as sys;

use super::mtmd::Projector;
use super::{spectrogram, written};
use crate::config;
use crate::engine::audio::encoder::{Encoder, Options};
use crate::engine::audio::mel::Floor;
use crate::engine::audio::stream::Stream;
use crate::engine::audio::weights::Precision;
use crate::engine::ggml::tensors::multiply_adds;
use crate::engine::ggml::threads::Threads;
use crate::engine::llama::model::Model;

/// Options that match llama.cpp.
const LLAMA_CPP: Options = Options {
    floor: Floor::Least,
    precision: Precision::Stored,
    gpu: false,
};

/// A model's encoder twice: as a stream, and as mtmd computes it, which is the truth here.
pub(in crate::engine::audio) struct Both {
    pub stream: Arc<Encoder>,
    // Dropped before the model, which it points into.
    whole: Mutex<Projector>,
    model: Model,
    mmproj: PathBuf,
}

/// The embedded model. One thread, because tests run side by side.
pub(in crate::engine::audio) static NANO: LazyLock<Both> =
    LazyLock::new(|| Both::load(&nano("gguf"), &nano("mmproj.gguf"), 1));

/// The embedded model with matrices of floats. An F16 matrix rounds its operand, so that a float's last bit can
/// move a soft token by a thousandth; without that rounding, tests can use a tight bound.
pub(in crate::engine::audio) static FLOATS: LazyLock<Both> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("floats.gguf");
    written::as_floats(&nano("mmproj.gguf"), &file, &[]);
    Both::load(&nano("gguf"), &file, 1)
});

pub(in crate::engine::audio) fn nano(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../models/nano/nano-f16.{kind}"))
}

impl Both {
    pub(in crate::engine::audio) fn load(text: &Path, mmproj: &Path, threads: i32) -> Self {
        let config = config::Model {
            text: text.into(),
            mmproj: PathBuf::new(),
            gpu_layers: 0,
            repack: false,
            ..config::Model::default()
        };
        let pool = Threads::of(threads);
        let model = Model::open(&config, &pool).unwrap();
        let width = usize::try_from(model.llama().n_embd()).unwrap();
        let whole = Projector::load(mmproj, model.llama(), parameters(threads));
        Self {
            stream: Encoder::load(mmproj, width, &pool, LLAMA_CPP).unwrap(),
            whole: Mutex::new(whole),
            model,
            mmproj: mmproj.into(),
        }
    }

    pub(in crate::engine::audio) fn whole(&self, samples: &[f32]) -> Vec<f32> {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.encode(samples).unwrap()
    }

    /// Multiply-adds that mtmd spends on the whole clip.
    pub(in crate::engine::audio) fn count(&self, samples: &[f32]) -> u64 {
        /// Called for each operation before it is computed; asks to observe none of them.
        unsafe extern "C" fn add(node: *mut sys::ggml_tensor, _: bool, sum: *mut c_void) -> bool {
            // SAFETY: `sum` is the counter below, and the node is part of a graph.
            unsafe { *sum.cast::<u64>() += multiply_adds(node) };
            false
        }
        let mut sum = 0u64;
        let mut params = parameters(1);
        params.warmup = false;
        params.cb_eval = Some(add);
        params.cb_eval_user_data = (&raw mut sum).cast();
        let mut projector = Projector::load(&self.mmproj, self.model.llama(), params);
        projector.encode(samples).unwrap();
        drop(projector);
        sum
    }

    /// The same encoder with its matrices in 8 bits.
    pub(in crate::engine::audio) fn in_8_bits(&self) -> Arc<Encoder> {
        let options = Options {
            precision: Precision::Q8,
            ..LLAMA_CPP
        };
        let threads = Threads::of(1);
        Encoder::load(&self.mmproj, self.stream.width(), &threads, options).unwrap()
    }

    /// Pushes `samples` in parts of the sizes `parts`, and takes at most `most` rows after each. Both lists are
    /// used over and over.
    pub(in crate::engine::audio) fn streamed(
        &self,
        samples: &[f32],
        parts: &[usize],
        most: &[usize],
    ) -> Vec<f32> {
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

    /// Takes pieces of at most `rows` from llama.cpp's own spectrogram of the clip.
    pub(in crate::engine::audio) fn streamed_from_their_spectrogram(
        &self,
        samples: &[f32],
        rows: usize,
    ) -> Vec<f32> {
        let mut stream = Stream::with_frames(&self.stream, spectrogram::whole(samples));
        std::iter::from_fn(|| stream.take(rows).unwrap())
            .flatten()
            .collect()
    }

    /// Checks one way of hearing `samples` against mtmd.
    pub(in crate::engine::audio) fn check(&self, samples: &[f32], parts: &[usize], most: &[usize]) {
        let streamed = self.streamed(samples, parts, most);
        let (cosine, error) = compare(&streamed, &self.whole(samples), self.stream.width());
        let length = samples.len();
        assert!(cosine >= 0.9999, "cosine {cosine} for {length} samples");
        assert!(error <= 1e-3, "error {error} for {length} samples");
    }
}

fn parameters(threads: i32) -> sys::mtmd_context_params {
    // SAFETY: plain default values.
    let mut params = unsafe { sys::mtmd_context_params_default() };
    params.use_gpu = false;
    params.print_timings = false;
    params.n_threads = threads;
    params
}

/// Something like speech: voiced stretches of gliding pitch, noise, and pauses.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
pub(in crate::engine::audio) fn sound(samples: usize, seed: u32) -> Vec<f32> {
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

/// Over all rows, the least cosine, and the greatest difference relative to the row's greatest number.
#[expect(clippy::cast_possible_truncation)]
pub(in crate::engine::audio) fn compare(ours: &[f32], theirs: &[f32], width: usize) -> (f32, f32) {
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
