//! One llama.cpp context: its KV cache, its threads, and the batches it decodes.
//!
//! llama-cpp-2's context has no batches of embeddings and no thread pool, so this one is built on
//! llama-cpp-sys-2. The KV cache is unified: all sequences share its cells, and copying a prefix to
//! another sequence only marks cells (llama-kv-cache.cpp, `seq_cp`). Where anything is shared, sliding-window layers keep all
//! cells (`swa_full`), because otherwise a prefix longer than the window could not be.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llama_cpp_sys_2 as sys;

use super::backend;
use super::kv_only::{self, KvOnly};
use super::mixed::{Ending, Mixed, SequenceId};
use super::model::{Model, Token, raw_model};
use crate::engine::EngineError;
use crate::engine::ggml::threads::Threads;

/// Rows that a matrix is multiplied with at once. The remainder of a batch is computed row by row, and two such
/// rows take about as long as four at once (ggml-cpu/repack.cpp, lines 4637-4647). So batches are padded to a
/// multiple of this number.
const ROWS_AT_ONCE: u8 = 4;

/// The tokens of padding rows.
const PADDING: [Token; ROWS_AT_ONCE as usize] = [0; ROWS_AT_ONCE as usize];

/// Result of `llama_decode` when its abort callback ended it (llama.h).
const ABORTED: i32 = 2;

/// One row of a batch of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Row {
    /// The token.
    pub token: Token,
    /// Its position in the sequence, from 0.
    pub position: i32,
    /// The sequence.
    pub sequence: SequenceId,
    /// Whether the logits after it are wanted.
    pub logits: bool,
}

impl Row {
    /// Rows for `tokens` of a sequence, the first at position `start`, all with logits or none.
    pub(in crate::engine) fn of(
        tokens: &[Token],
        start: usize,
        sequence: SequenceId,
        logits: bool,
    ) -> Vec<Self> {
        // Positions are below the number of cells, which is an `i32` of llama.cpp's.
        let start = i32::try_from(start).unwrap_or(i32::MAX);
        let row = |(position, token): (i32, &Token)| Self {
            token: *token,
            position,
            sequence,
            logits,
        };
        (start..).zip(tokens).map(row).collect()
    }
}

/// The dimensions of a context.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Shape {
    /// Cells of the KV cache.
    pub cells: u32,
    /// Sequences.
    pub sequences: u32,
    /// Whether layers with a window keep all cells, so that a prefix can be shared and an end taken back.
    pub keeps_all: bool,
    /// Maximum rows in a batch. A batch of tokens may always have one row for each sequence.
    pub batch: u32,
    /// Whether keys and values are held in 8 bits instead of 16.
    pub is_small: bool,
}

/// A context. It belongs to the engine thread.
#[derive(Debug)]
pub(in crate::engine) struct Context {
    raw: NonNull<sys::llama_context>,
    threads: Arc<Threads>,
    kv_only: Box<KvOnly>,
    mixed: Mixed,
    model: Arc<Model>,
    /// Cells, without those reserved for padding.
    cells: usize,
    /// The sequence of padding rows, while a batch is computed.
    padding: SequenceId,
    batch: usize,
    width: usize,
}

impl Context {
    /// Makes a context on `model`.
    ///
    /// # Errors
    /// When there is not enough memory, or the model does not allow the shape.
    pub(in crate::engine) fn new(
        model: &Arc<Model>,
        threads: &Arc<Threads>,
        shape: Shape,
    ) -> Result<Self, EngineError> {
        let failed = |why: String| EngineError::Llama {
            doing: "making room for the KV cache",
            why,
        };
        // SAFETY: plain default values.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = shape.cells + u32::from(ROWS_AT_ONCE);
        params.n_seq_max = shape.sequences + 1;
        // llama.cpp wants room for a row with logits of every sequence (llama-context.cpp, `output_reserve`).
        let rows = shape.batch.max(params.n_seq_max);
        params.n_batch = rows;
        params.n_ubatch = rows;
        params.swa_full = shape.keeps_all;
        params.kv_unified = true;
        if shape.is_small {
            (params.type_k, params.type_v) = (sys::GGML_TYPE_Q8_0, sys::GGML_TYPE_Q8_0);
        }
        params.no_perf = true;
        // In a box, because llama.cpp keeps its address.
        let kv_only = Box::new(KvOnly::new(
            model.llama().n_layer(),
            model.shared_kv_layers(),
        ));
        params.cb_eval = Some(kv_only::observe);
        params.cb_eval_user_data = std::ptr::from_ref(kv_only.as_ref()).cast_mut().cast();
        params.abort_callback = Some(is_stopped);
        params.abort_callback_data = threads.stop().flag().cast_mut().cast();
        backend::take_errors();
        // SAFETY: the model lives as long as `self.model`, and the flag as long as `self.threads`.
        let raw = unsafe { sys::llama_init_from_model(raw_model(model.llama()), params) };
        let raw = NonNull::new(raw).ok_or_else(|| failed(backend::take_errors()))?;
        // SAFETY: both live, and the threads end after the context.
        unsafe { sys::llama_attach_threadpool(raw.as_ptr(), threads.raw(), threads.raw()) };
        // SAFETY: the context lives, and `self` lets nobody fill the batch after it.
        let mixed = unsafe { Mixed::new(raw.as_ptr()) };
        let mixed = mixed.ok_or_else(|| failed("out of memory".into()))?;
        Ok(Self {
            raw,
            threads: Arc::clone(threads),
            kv_only,
            mixed,
            model: Arc::clone(model),
            cells: shape.cells as usize,
            padding: shape.sequences.cast_signed(),
            batch: rows as usize,
            width: usize::try_from(model.llama().n_embd()).unwrap_or(0),
        })
    }

    /// Cells of the KV cache.
    pub(in crate::engine) fn cells(&self) -> usize {
        self.cells
    }

    /// Computes a batch of tokens, at most the shape's `batch`, or one for each sequence.
    ///
    /// # Errors
    /// When llama.cpp fails, such as for want of cells, or [`EngineError::Stopping`].
    pub(in crate::engine) fn decode_tokens(&mut self, rows: &[Row]) -> Result<(), EngineError> {
        debug_assert!(rows.len() <= self.batch);
        let wants_logits = rows.iter().any(|row| row.logits);
        let padding = if wants_logits {
            0
        } else {
            self.missing(rows.len())
        };
        let padding = Row::of(&PADDING[..padding], 0, self.padding, false);
        let rows = || rows.iter().chain(&padding);
        let mut tokens: Vec<_> = rows().map(|row| row.token).collect();
        let positions = rows().map(|row| row.position).collect();
        let sequences = rows().map(|row| row.sequence).collect();
        let logits = rows().map(|row| i8::from(row.logits)).collect();
        self.kv_only.arm(wants_logits);
        self.decode(
            tokens.as_mut_ptr(),
            std::ptr::null_mut(),
            positions,
            sequences,
            logits,
        )?;
        if !padding.is_empty() {
            self.forget(self.padding);
        }
        Ok(())
    }

    /// Number of padding rows for a batch of `rows`: none for a single row, or where the batch would get too large.
    fn missing(&self, rows: usize) -> usize {
        let full = rows.next_multiple_of(ROWS_AT_ONCE.into());
        if rows > 1 && full <= self.batch {
            full - rows
        } else {
            0
        }
    }

    /// Computes a batch of soft tokens (rows × width floats) of one sequence, the first at position
    /// `start`. Returns the number of rows; there are no logits.
    ///
    /// # Errors
    /// When llama.cpp fails, such as for want of cells.
    pub(in crate::engine) fn decode_soft_tokens(
        &mut self,
        soft_tokens: &[f32],
        start: usize,
        sequence: SequenceId,
    ) -> Result<usize, EngineError> {
        let rows = soft_tokens.len() / self.width;
        debug_assert!(rows <= self.batch && rows * self.width == soft_tokens.len());
        let start = i32::try_from(start).unwrap_or(i32::MAX);
        // llama.cpp only reads the floats, though its struct says otherwise.
        let embeddings = soft_tokens.as_ptr().cast_mut();
        self.kv_only.arm(false);
        self.decode(
            std::ptr::null_mut(),
            embeddings,
            (start..).take(rows).collect(),
            vec![sequence; rows],
            vec![0; rows],
        )?;
        Ok(rows)
    }

    /// Computes the last soft tokens of a turn and the tokens that close the turn in one batch. Returns the
    /// number of soft tokens; there are no logits.
    ///
    /// # Errors
    /// When llama.cpp fails, such as for want of cells.
    pub(in crate::engine) fn decode_ending(
        &mut self,
        ending: &Ending<'_>,
    ) -> Result<usize, EngineError> {
        let rows = ending.soft_tokens.len() / self.width;
        let length = rows + ending.tokens.len();
        debug_assert!(length <= self.batch);
        let padding = (self.padding, &PADDING[..self.missing(length)]);
        self.mixed
            .fill(ending, self.width, padding)
            .map_err(|why| EngineError::Llama {
                doing: "filling a batch",
                why,
            })?;
        self.kv_only.arm(false);
        let batch = self.mixed.raw();
        // SAFETY: both are valid.
        self.compute(|context| unsafe {
            sys::llama_process(context, sys::LLAMA_PROCESS_TYPE_DECODE, batch)
        })?;
        self.forget(self.padding);
        Ok(rows)
    }

    /// The logits after row `row` of the last batch of tokens, one for each token of the vocabulary.
    ///
    /// # Errors
    /// When that row did not ask for logits.
    pub(in crate::engine) fn logits(&self, row: usize) -> Result<&[f32], EngineError> {
        // SAFETY: llama.cpp returns null for a row without logits; else a row of the vocabulary's
        // length that stays until the next batch, which needs `&mut self`.
        unsafe {
            let row = i32::try_from(row).unwrap_or(i32::MAX);
            let logits = sys::llama_get_logits_ith(self.raw.as_ptr(), row);
            NonNull::new(logits)
                .map(|logits| std::slice::from_raw_parts(logits.as_ptr(), self.model.vocabulary()))
                .ok_or_else(|| EngineError::Llama {
                    doing: "reading logits",
                    why: format!("row {row} has none"),
                })
        }
    }

    /// Makes `to` begin with the first `rows` rows of `from`. Costs no cells.
    pub(in crate::engine) fn share(&mut self, from: SequenceId, to: SequenceId, rows: usize) {
        let end = i32::try_from(rows).unwrap_or(i32::MAX);
        // SAFETY: both sequences are below the shape's number.
        unsafe { sys::llama_memory_seq_cp(self.memory(), from, to, 0, end) }
    }

    /// Forgets all but the first `rows` rows of a sequence, and gives their cells back.
    pub(in crate::engine) fn truncate(&mut self, sequence: SequenceId, rows: usize) {
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        // SAFETY: the sequence is below the shape's number. Every cell of it is kept (`swa_full`), so its end can be
        // removed.
        unsafe {
            sys::llama_memory_seq_rm(self.memory(), sequence, rows, -1);
        }
    }

    /// Forgets a sequence and gives its cells back.
    pub(in crate::engine) fn forget(&mut self, sequence: SequenceId) {
        // SAFETY: the sequence is below the shape's number; removing all of it cannot fail.
        unsafe {
            sys::llama_memory_seq_rm(self.memory(), sequence, -1, -1);
        }
    }

    fn memory(&mut self) -> sys::llama_memory_t {
        // SAFETY: the context lives.
        unsafe { sys::llama_get_memory(self.raw.as_ptr()) }
    }

    fn decode(
        &mut self,
        token: *mut Token,
        embd: *mut f32,
        mut positions: Vec<i32>,
        sequences: Vec<SequenceId>,
        mut logits: Vec<i8>,
    ) -> Result<(), EngineError> {
        let mut sequences = sequences;
        let mut lists: Vec<*mut SequenceId> =
            sequences.iter_mut().map(std::ptr::from_mut).collect();
        let mut counts = vec![1; positions.len()];
        let batch = sys::llama_batch {
            n_tokens: i32::try_from(positions.len()).unwrap_or(i32::MAX),
            token,
            embd,
            pos: positions.as_mut_ptr(),
            n_seq_id: counts.as_mut_ptr(),
            seq_id: lists.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        // SAFETY: every array has `n_tokens` entries (`embd` that many rows of the model's width) and
        // outlives the call; one of `token` and `embd` is null, as llama_batch wants.
        self.compute(|context| unsafe { sys::llama_decode(context, batch) })
    }

    /// Lets llama.cpp compute a batch.
    fn compute(
        &self,
        batch: impl FnOnce(*mut sys::llama_context) -> i32,
    ) -> Result<(), EngineError> {
        backend::take_errors();
        let context = self.raw.as_ptr();
        let code = self.threads.run(|count| {
            // SAFETY: the context lives.
            unsafe { sys::llama_set_n_threads(context, count, count) };
            batch(context)
        });
        match code {
            0 => {
                self.kv_only.check();
                Ok(())
            }
            ABORTED => Err(EngineError::Stopping),
            code => Err(EngineError::Llama {
                doing: "computing a batch",
                why: match code {
                    1 => "no free cells in the KV cache".into(),
                    code => format!("llama_decode returned {code}; {}", backend::take_errors()),
                },
            }),
        }
    }
}

/// llama.cpp's abort callback, which it asks between two operations; `data` is the flag of a
/// [`Stop`](crate::engine::stop::Stop).
unsafe extern "C" fn is_stopped(data: *mut c_void) -> bool {
    // SAFETY: `Context::new` passes this flag, and the context holds the threads that hold it.
    unsafe { &*data.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once; its threads end later.
        unsafe { sys::llama_free(self.raw.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::engine::audio::{Rows, Spans};

    const SEQUENCE: SequenceId = 0;

    fn nano() -> Arc<Model> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let config = config::Model {
            text: folder.join("nano-f16.gguf"),
            mmproj: folder.join("nano-f16.mmproj.gguf"),
            ..config::Model::default()
        };
        Arc::new(Model::open(&config, &Threads::of(1)).unwrap())
    }

    fn context(model: &Arc<Model>) -> Context {
        let shape = Shape {
            is_small: false,
            keeps_all: true,
            cells: 512,
            sequences: 2,
            batch: 64,
        };
        Context::new(model, &Threads::of(1), shape).unwrap()
    }

    /// A second of hum, as soft tokens.
    fn hum(model: &Model) -> Vec<f32> {
        let mut spans = Spans::new(model.encoder().unwrap(), vec![], vec![]);
        spans.push(&vec![0.01; 16_000]);
        spans.finish();
        let Some(Rows::Soft(soft_tokens)) = spans.take(64).unwrap() else {
            panic!("no sound")
        };
        soft_tokens
    }

    fn bits(logits: &[f32]) -> Vec<u32> {
        logits.iter().map(|logit| logit.to_bits()).collect()
    }

    /// The logits after some text, some sound, and some text.
    fn logits_after_a_prompt(context: &mut Context, soft_tokens: &[f32]) -> Vec<f32> {
        let model = Arc::clone(&context.model);
        let text = model.tokenise_template("<bos><|turn>user\nturn on the kitchen light");
        context
            .decode_tokens(&Row::of(&text, 0, SEQUENCE, false))
            .unwrap();
        let sound = context
            .decode_soft_tokens(soft_tokens, text.len(), SEQUENCE)
            .unwrap();
        let closing = model.tokenise_template("<turn|>\n<|turn>model\n");
        let (last, closing) = closing.split_last().unwrap();
        let start = text.len() + sound;
        context
            .decode_tokens(&Row::of(closing, start, SEQUENCE, false))
            .unwrap();
        context
            .decode_tokens(&Row::of(&[*last], start + closing.len(), SEQUENCE, true))
            .unwrap();
        context.logits(0).unwrap().to_vec()
    }

    #[test]
    fn a_prompt_prefilled_kv_only_gives_the_same_logits_to_the_bit() {
        let model = nano();
        let soft_tokens = hum(&model);
        let mut plain = context(&model);
        plain.kv_only.give_up();
        let expected = logits_after_a_prompt(&mut plain, &soft_tokens);
        assert!(!plain.kv_only.saved_anything());

        let mut kv_only = context(&model);
        let logits = logits_after_a_prompt(&mut kv_only, &soft_tokens);
        assert!(kv_only.kv_only.saved_anything());
        assert!(expected.iter().any(|logit| *logit != 0.0));
        assert_eq!(bits(&logits), bits(&expected));
    }

    /// The logits after a text, of which all but the last token is read without logits.
    fn logits_after_a_text(context: &mut Context) -> Vec<f32> {
        let text = context.model.tokenise_said("turn on the kitchen light");
        let (last, before) = text.split_last().unwrap();
        let read = |rows: Vec<Row>, context: &mut Context| context.decode_tokens(&rows).unwrap();
        read(Row::of(before, 0, SEQUENCE, false), context);
        read(Row::of(&[*last], before.len(), SEQUENCE, true), context);
        context.logits(0).unwrap().to_vec()
    }

    #[test]
    #[ignore = "needs the files of `cargo xtask shape --sizes`"]
    fn every_size_of_gemma_is_prefilled_kv_only_to_the_same_bits() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/shape/sizes");
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let is_one_of_each =
            |path: &std::path::PathBuf| path.to_str().unwrap().ends_with("-q4_0.gguf");
        let files: Vec<_> = files.filter(is_one_of_each).collect();
        assert_eq!(files.len(), 7);
        for text in files {
            let config = config::Model {
                text: text.clone(),
                mmproj: std::path::PathBuf::new(),
                ..config::Model::default()
            };
            let model = Model::open(&config, &Threads::of(1)).unwrap();
            let model = Arc::new(model);
            let mut plain = context(&model);
            plain.kv_only.give_up();
            let expected = logits_after_a_text(&mut plain);
            let mut kv_only = context(&model);
            let logits = logits_after_a_text(&mut kv_only);
            assert!(kv_only.kv_only.saved_anything(), "{}", text.display());
            assert!(expected.iter().any(|logit| *logit != 0.0));
            assert_eq!(bits(&logits), bits(&expected), "{}", text.display());
        }
    }

    #[test]
    fn what_fills_a_batch_up_leaves_nothing_in_the_cache() {
        let model = nano();
        let mut context = context(&model);
        let text = &model.tokenise_template("turn on the kitchen light")[..5];
        let rows = Row::of(text, 0, SEQUENCE, false);
        context.decode_tokens(&rows).unwrap();
        let last = |context: &mut Context, sequence| {
            // SAFETY: the context lives, and has the sequence.
            unsafe { sys::llama_memory_seq_pos_max(context.memory(), sequence) }
        };
        let padding = context.padding;
        assert_eq!(last(&mut context, SEQUENCE), 4);
        assert_eq!(last(&mut context, padding), -1);
    }

    #[test]
    fn what_closes_a_turn_may_share_a_batch_with_its_last_sound() {
        let model = nano();
        let soft_tokens = hum(&model);
        let expected = logits_after_a_prompt(&mut context(&model), &soft_tokens);

        let mut mixed = context(&model);
        let text = model.tokenise_template("<bos><|turn>user\nturn on the kitchen light");
        mixed
            .decode_tokens(&Row::of(&text, 0, SEQUENCE, false))
            .unwrap();
        let other = SEQUENCE + 1;
        mixed.share(SEQUENCE, other, text.len());
        let closing = model.tokenise_template("<turn|>\n<|turn>model\n");
        let (last, closing) = closing.split_last().unwrap();
        let ending = Ending {
            soft_tokens: &soft_tokens,
            start: text.len(),
            heard: SEQUENCE,
            tokens: closing,
            closing: other,
        };
        let sound = mixed.decode_ending(&ending).unwrap();
        assert!(mixed.kv_only.saved_anything());
        let end = text.len() + sound;
        let last_of = |sequence, end| Row::of(&[*last], end, sequence, true);
        mixed
            .decode_tokens(&last_of(other, end + closing.len()))
            .unwrap();
        assert_eq!(bits(mixed.logits(0).unwrap()), bits(&expected));

        // The sequence that was only heard has none of the other's closing tokens.
        mixed
            .decode_tokens(&Row::of(closing, end, SEQUENCE, false))
            .unwrap();
        mixed
            .decode_tokens(&last_of(SEQUENCE, end + closing.len()))
            .unwrap();
        assert_eq!(bits(mixed.logits(0).unwrap()), bits(&expected));
    }

    /// Prints the time that batches of each size take, with the files that `cargo xtask shape` makes. By hand, on
    /// quiet cores: `GEMMAD_SHAPE=FOLDER cargo test --release -p gemmad --lib full_size -- --ignored --nocapture`.
    #[test]
    #[ignore = "needs a model of full size"]
    fn full_size_batches() {
        let folder = std::env::var_os("GEMMAD_SHAPE").expect("GEMMAD_SHAPE names a folder");
        let config = config::Model {
            text: Path::new(&folder).join("e2b-q4_0.gguf"),
            mmproj: std::path::PathBuf::new(),
            ..config::Model::default()
        };
        let threads = Threads::of(2);
        let model = Arc::new(Model::open(&config, &threads).unwrap());
        let shape = Shape {
            is_small: false,
            keeps_all: true,
            cells: 4096,
            sequences: 1,
            batch: 64,
        };
        let mut context = Context::new(&model, &threads, shape).unwrap();
        let mut start = 0;
        for size in [1, 2, 3, 4, 6, 8, 12, 16, 17, 18, 19, 20, 24, 32, 48] {
            let mut time = |logits: bool| {
                let mut times: Vec<_> = (0..5)
                    .map(|_| {
                        let mut rows = Row::of(&vec![100; size], start, SEQUENCE, false);
                        rows.last_mut().unwrap().logits = logits;
                        let started = std::time::Instant::now();
                        context.decode_tokens(&rows).unwrap();
                        start += size;
                        started.elapsed()
                    })
                    .collect();
                times.sort();
                times[2]
            };
            println!(
                "{size} rows: {:?}, with logits {:?}",
                time(false),
                time(true)
            );
        }
    }
}
