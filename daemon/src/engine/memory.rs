//! How much memory a model takes, and how it is made to fit.
//!
//! Everything is known from the headers of its files. What is predicted is what is used again and again: weights where they
//! are mapped or copied, the KV cache, what batches are computed in, the encoder, the vocabulary. Not counted is what the
//! kernel may drop at any time: the file's pages of weights that were copied, and the embeddings for each layer, of which
//! each token reads one row.

use super::audio;
use super::error::{EngineError, LoadError};
use super::llama::gguf::{Header, Kind};
use super::llama::placing::Text;
use super::llama::{kv_only, model};
use super::megabytes::Megabytes;
use super::schedule::cells::LEAST_ANSWER;
use crate::config::{self, Config, LongCache};
use crate::platform::memory;

/// What else runs on a board, and what gemmad itself needs beside the model, such as programs that speak: 100 MB.
const RESERVE: u64 = 100_000_000;

/// Bytes of a piece of the vocabulary, in llama.cpp's tables and in those of the grammars: fitted to what
/// `cargo xtask bench memory` measures with 262,144 invented pieces.
const PIECE: u64 = 450;

/// Answers that are generated at once beside those to questions: to speech, two each of two turns.
const SPOKEN: u64 = 4;

/// Bytes of the program itself, its threads and its libraries.
const PROGRAM: u64 = 40_000_000;

/// Most layers of a model that llama.cpp loads (llama-hparams.h, `LLAMA_MAX_LAYERS`).
const MOST_LAYERS: u64 = 512;

/// Bytes of a number in the KV cache, and of one in between.
const HALF: u64 = 2;
const FLOAT: u64 = 4;

/// Numbers and bytes of a block of a KV cache in 8 bits (ggml-common.h, `block_q8_0`).
const BLOCK: u64 = 32;
const BLOCK_BYTES: u64 = 34;

/// Checks that the files which `model` names are there, and begin like a model and a projector.
///
/// # Errors
/// The first of these that fails, naming the file.
pub fn check_files(model: &config::Model) -> Result<(), LoadError> {
    Text::open(&model.text, false)?;
    if !model.mmproj.as_os_str().is_empty() {
        Header::open(&model.mmproj, Kind::Projector)?;
    }
    Ok(())
}

/// How the model that `config` names, with the headers `text`, is loaded: with fewer cells than configured, if there is not
/// enough memory for all. On a GPU that is not planned.
///
/// # Errors
/// When its projector cannot be read, or it does not fit at all.
pub(super) fn plan(config: &Config, text: &Text) -> Result<Fit, LoadError> {
    let needs = Needs::of(config, text)?;
    let wanted = config.engine.context.get().min(text.trained());
    if wanted < config.engine.context.get() {
        log::warn!(
            "[engine] context is lowered to {wanted}, the length the model was trained with"
        );
    }
    let least = config.engine.least_context.get().min(wanted);
    let Some(free) = memory::available().filter(|_| !model::is_on_gpu(&config.model)) else {
        return Ok(needs.with(wanted, wanted));
    };
    match needs.fit(wanted, least, free) {
        Ok(fit) => {
            if fit.cells < wanted {
                log::warn!(
                    "the context is {} tokens instead of {wanted}: {} of memory are free",
                    fit.cells,
                    Megabytes(free)
                );
            }
            Ok(fit)
        }
        Err(needed) if config.engine.overcommit => {
            log::warn!(
                "the model takes {} of memory, but {} are free; it is loaded as [engine] overcommit says",
                Megabytes(needed),
                Megabytes(free)
            );
            Ok(needs.with(least, least))
        }
        Err(needed) => Err(LoadError::TooLarge {
            path: config.model.text.clone(),
            needed: Megabytes(needed),
            free: Megabytes(free),
            least,
        }),
    }
}

/// What a model needs, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Of each cell of the KV cache.
    pub cell: u64,
    /// Of the weights.
    pub weights: u64,
    /// Of everything else.
    pub rest: u64,
    /// Of contexts beside the shared one.
    pub beside: Room,
}

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Cells of the KV cache.
    pub cells: u32,
    /// Fewest cells that it does with when memory is scarce.
    pub least: u32,
    needs: Needs,
}

impl Fit {
    /// Bytes that it takes with so many cells.
    pub(super) fn bytes(&self, cells: u32) -> u64 {
        self.needs.total(cells)
    }

    /// What there is room for beside that.
    pub(super) fn beside(&self) -> Room {
        self.needs.beside
    }
}

/// The memory that contexts beside the shared one take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes of a cell.
    cell: u64,
    /// Bytes of a context without cells.
    context: u64,
    /// Most tokens of a question and its answer.
    pub longest: u32,
    /// Whether more than is free may be taken.
    overcommit: bool,
}

/// A context that there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Cells of its KV cache.
    pub cells: u32,
    /// Bytes that it takes.
    pub bytes: u64,
}

impl Room {
    /// The place of a question with a prompt of `prompt` tokens and an answer of at most `answer`.
    ///
    /// # Errors
    /// [`EngineError::PromptTooLong`] or [`EngineError::TooLongForMemory`].
    pub(super) fn of(&self, prompt: usize, answer: usize) -> Result<Place, EngineError> {
        let free = memory::available().filter(|_| !self.overcommit);
        self.within(prompt as u64, answer as u64, free.unwrap_or(u64::MAX))
    }

    /// Why a question with a prompt of `rows` tokens has to end when memory is scarce.
    pub(super) fn lost(&self, rows: usize) -> EngineError {
        EngineError::TooLongForMemory {
            rows,
            needed: Megabytes(self.bytes(rows as u64).saturating_add(RESERVE)),
            free: Megabytes(memory::available().unwrap_or(0)),
        }
    }

    fn within(&self, prompt: u64, answer: u64, free: u64) -> Result<Place, EngineError> {
        let longest = u64::from(self.longest);
        let least = prompt + answer.min(LEAST_ANSWER as u64);
        if least > longest {
            return Err(EngineError::PromptTooLong {
                rows: usize::try_from(prompt).unwrap_or(usize::MAX),
                capacity: self.longest as usize,
            });
        }
        let room = free.saturating_sub(self.context.saturating_add(RESERVE));
        let most = room.checked_div(self.cell).unwrap_or(u64::MAX);
        if least > most {
            return Err(EngineError::TooLongForMemory {
                rows: usize::try_from(prompt).unwrap_or(usize::MAX),
                needed: Megabytes(self.bytes(least).saturating_add(RESERVE)),
                free: Megabytes(free),
            });
        }
        let cells = (prompt + answer).min(longest).min(most);
        Ok(Place {
            // At most `longest`.
            cells: u32::try_from(cells).unwrap_or(self.longest),
            bytes: self.bytes(cells),
        })
    }

    fn bytes(&self, cells: u64) -> u64 {
        self.context.saturating_add(self.cell.saturating_mul(cells))
    }
}

impl Needs {
    /// The needs of the model that `config` names.
    ///
    /// # Errors
    /// When its projector cannot be read.
    pub(super) fn of(config: &Config, text: &Text) -> Result<Self, LoadError> {
        let encoder = if config.model.mmproj.as_os_str().is_empty() {
            0
        } else {
            let header = Header::open(&config.model.mmproj, Kind::Projector)?;
            audio::bytes(&header, config.model.encoder_weights.into())
        };
        let shape = Shape::of(&text.header);
        let rows = u64::from(config.engine.batch.get());
        let answers = u64::from(config.engine.parallel.get()) + SPOKEN;
        let trained = text.trained();
        let cache = config.engine.long_cache;
        Ok(Self {
            beside: Room {
                cell: shape.long_cell(rows, cache),
                context: shape
                    .long_context(rows, cache)
                    .saturating_add(shape.computing(rows, 1)),
                longest: config.engine.longest_question.get().min(trained),
                overcommit: config.engine.overcommit,
            },
            cell: shape.cell(rows),
            weights: text.mapped + text.repacked,
            rest: shape
                .computing(rows, answers)
                .saturating_add(encoder + shape.vocabulary * PIECE + PROGRAM),
        })
    }

    /// The bytes with so many cells.
    fn total(&self, cells: u32) -> u64 {
        let cells = self.cell.saturating_mul(cells.into());
        self.weights.saturating_add(self.rest).saturating_add(cells)
    }

    /// The same as a decision for so many cells, of which `least` would do.
    fn with(&self, cells: u32, least: u32) -> Fit {
        Fit {
            cells,
            least,
            needs: *self,
        }
    }

    /// How to load it with `wanted` cells, or at least `least` of them, into `free` bytes.
    ///
    /// # Errors
    /// The number of bytes that it takes at least.
    pub(super) fn fit(&self, wanted: u32, least: u32, free: u64) -> Result<Fit, u64> {
        let least = least.min(wanted);
        let free = free.saturating_sub(RESERVE);
        let room = free.saturating_sub(self.total(0));
        let most = room.checked_div(self.cell).unwrap_or(u64::MAX);
        let cells = u32::try_from(most).unwrap_or(u32::MAX).min(wanted);
        if cells < least || self.total(cells) > free {
            return Err(self.total(least).saturating_add(RESERVE));
        }
        Ok(self.with(cells, least))
    }
}

/// The dimensions of a text model, from its metadata.
#[derive(Debug)]
struct Shape {
    vocabulary: u64,
    hidden: u64,
    feed_forward: u64,
    /// The length of the window, in tokens.
    window: u64,
    /// Layers that have a KV cache: whether they see only a window, and numbers of a token in it.
    caches: Vec<(bool, u64)>,
}

impl Shape {
    fn of(header: &Header) -> Self {
        let architecture = header.architecture();
        let numbers = |key: &str| header.numbers(&format!("{architecture}.{key}"));
        let number = |key: &str| numbers(key).first().copied().map(u64::from);
        let hidden = number("embedding_length").unwrap_or(0);
        let heads = number("attention.head_count").unwrap_or(1).max(1);
        let kv_heads = numbers("attention.head_count_kv");
        let windows = numbers("attention.sliding_window_pattern");
        let full = |key: &str| number(key).unwrap_or(hidden / heads);
        let window = |key: &str| number(&format!("{key}_swa")).unwrap_or(full(key));
        let layers = number("block_count").unwrap_or(0).min(MOST_LAYERS);
        let own = layers.saturating_sub(kv_only::shared_layers(header).into());
        let caches = (0..usize::try_from(own).unwrap_or(0)).map(|layer| {
            let of = |all: &[u32]| all.get(layer).or(all.last()).copied().map(u64::from);
            let has_window = of(&windows) == Some(1);
            let length = |key: &str| if has_window { window(key) } else { full(key) };
            let length = length("attention.key_length") + length("attention.value_length");
            (
                has_window,
                of(&kv_heads).unwrap_or(heads).saturating_mul(length),
            )
        });
        Self {
            vocabulary: header.strings("tokenizer.ggml.tokens").count() as u64,
            hidden,
            feed_forward: numbers("feed_forward_length")
                .into_iter()
                .map(u64::from)
                .max()
                .unwrap_or(0),
            caches: caches.collect(),
            window: number("attention.sliding_window").unwrap_or(0),
        }
    }

    /// Bytes of a cell of the KV cache, with its column in the mask of a batch of `rows` rows.
    fn cell(&self, rows: u64) -> u64 {
        let all = self.numbers(false).saturating_add(self.numbers(true));
        all.saturating_add(rows).saturating_mul(HALF)
    }

    /// Bytes of a cell where layers with a window keep only that, with its column in the mask of a batch of `rows` rows.
    fn long_cell(&self, rows: u64, cache: LongCache) -> u64 {
        let mask = rows.saturating_mul(HALF);
        stored(self.numbers(false), cache).saturating_add(mask)
    }

    /// Bytes of the cells of all windows, which hold a batch beside the window.
    fn long_context(&self, rows: u64, cache: LongCache) -> u64 {
        let tokens = self.window.saturating_add(rows);
        stored(self.numbers(true), cache).saturating_mul(tokens)
    }

    /// Numbers of a token in all layers with a window, or in all without.
    fn numbers(&self, has_window: bool) -> u64 {
        let caches = self
            .caches
            .iter()
            .filter(|(window, _)| *window == has_window);
        caches.fold(0, |sum, (_, numbers)| sum.saturating_add(*numbers))
    }

    /// Bytes that batches of so many rows are computed in, in the widest layer, and so many rows of logits, which llama.cpp
    /// holds twice. It reserves logits for all rows, but memory that is never written is none.
    fn computing(&self, rows: u64, answers: u64) -> u64 {
        // These have at most 32 bits each.
        let layer = rows.saturating_mul(2 * self.feed_forward + 4 * self.hidden);
        let logits = (2 * answers).saturating_mul(self.vocabulary);
        layer.saturating_add(logits).saturating_mul(FLOAT)
    }
}

/// Bytes of so many numbers in the KV cache of a long question.
fn stored(numbers: u64, cache: LongCache) -> u64 {
    match cache {
        LongCache::F16 => numbers.saturating_mul(HALF),
        LongCache::Q8 => numbers.div_ceil(BLOCK).saturating_mul(BLOCK_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs {
        cell: 1000,
        weights: 2_000_000_000,
        rest: 500_000_000,
        beside: ROOM,
    };

    const ROOM: Room = Room {
        cell: 1000,
        context: 1_000_000,
        longest: 100_000,
        overcommit: false,
    };

    #[test]
    fn a_long_question_gets_cells_for_its_answer_too_if_there_is_memory() {
        let cells = |prompt, answer, free| ROOM.within(prompt, answer, free).map(|it| it.cells);
        assert_eq!(cells(60_000, 500, u64::MAX), Ok(60_500));
        assert_eq!(cells(99_900, 500, u64::MAX), Ok(100_000));
        assert!(matches!(
            cells(99_950, 500, u64::MAX),
            Err(EngineError::PromptTooLong {
                capacity: 100_000,
                ..
            })
        ));
        assert_eq!(cells(99_990, 10, u64::MAX), Ok(100_000));
        let free = RESERVE + 1_000_000 + 60_100 * 1000;
        assert_eq!(cells(60_000, 500, free), Ok(60_100));
        assert!(matches!(
            cells(60_040, 500, free),
            Err(EngineError::TooLongForMemory { rows: 60_040, .. })
        ));
        assert!(cells(60_000, 500, 0).is_err());
    }

    #[test]
    fn a_model_gets_the_context_that_there_is_memory_for() {
        let fit = |free| NEEDS.fit(4096, 1024, free);
        let all = NEEDS.total(4096) + RESERVE;
        assert_eq!(fit(all).unwrap().cells, 4096);
        assert_eq!(fit(u64::MAX).unwrap().cells, 4096);
        assert_eq!(fit(all - 1).unwrap().cells, 4095);
        assert_eq!(fit(all - 3_072_000).unwrap().cells, 1024);
        let least = NEEDS.total(1024) + RESERVE;
        assert_eq!(fit(all - 3_072_001), Err(least));
        assert_eq!(fit(0), Err(least));
        // What is wanted may be less than the least.
        assert_eq!(NEEDS.fit(512, 1024, u64::MAX).unwrap().cells, 512);
    }

    #[test]
    fn a_model_without_a_cache_fits_or_not() {
        let needs = Needs { cell: 0, ..NEEDS };
        assert_eq!(needs.fit(4096, 1024, 3_000_000_000).unwrap().cells, 4096);
        assert!(needs.fit(4096, 1024, 2_500_000_000).is_err());
    }
}
