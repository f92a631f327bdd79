//! A batch of soft tokens followed by tokens: the end of a turn's sound, and the tokens that close the turn.
//!
//! Every batch reads the weights from memory once, which on a small machine takes longer than computing a few
//! rows with them; llama.cpp's extended batches (llama.h, `llama_batch_ext`) take both kinds of rows.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::model::Token;

/// Number of a sequence in the KV cache.
pub(in crate::engine) type SequenceId = i32;

/// The content of such a batch.
#[derive(Debug)]
pub(in crate::engine) struct Ending<'a> {
    /// Soft tokens: rows × width.
    pub soft_tokens: &'a [f32],
    /// Position of the first.
    pub start: usize,
    /// The sequence of the sound. It gets the soft tokens.
    pub heard: SequenceId,
    /// The tokens after them.
    pub tokens: &'a [Token],
    /// The sequence that gets the soft tokens and the tokens; may be `heard`.
    pub closing: SequenceId,
}

/// The batch. It can be filled any number of times.
#[derive(Debug)]
pub(in crate::engine) struct Mixed(NonNull<sys::llama_batch_ext>);

impl Mixed {
    /// An empty batch for a context. `None` when there is no memory.
    ///
    /// # Safety
    /// `context` is valid, and the batch is not filled after its end.
    pub(in crate::engine) unsafe fn new(context: *mut sys::llama_context) -> Option<Self> {
        // SAFETY: promised by the caller.
        NonNull::new(unsafe { sys::llama_batch_ext_init(context) }).map(Self)
    }

    /// For llama.cpp. Valid as long as `self`.
    pub(in crate::engine) fn raw(&mut self) -> *mut sys::llama_batch_ext {
        self.0.as_ptr()
    }

    /// Replaces the batch's rows with those of `ending`, whose soft tokens have `width` floats each, and with
    /// `padding`, a sequence and its tokens.
    ///
    /// # Errors
    /// When the batch is too small, a token is not in the vocabulary, or `width` is not the model's.
    pub(in crate::engine) fn fill(
        &mut self,
        ending: &Ending<'_>,
        width: usize,
        padding: (SequenceId, &[Token]),
    ) -> Result<(), String> {
        // SAFETY: the batch is valid.
        unsafe { sys::llama_batch_ext_clear(self.0.as_ptr()) };
        let mut positions = i32::try_from(ending.start).unwrap_or(i32::MAX)..;
        for (row, position) in ending.soft_tokens.chunks_exact(width).zip(&mut positions) {
            self.add_soft(row, position, [ending.heard, ending.closing])?;
        }
        for (token, position) in ending.tokens.iter().zip(&mut positions) {
            self.add_token(*token, position, ending.closing)?;
        }
        let (sequence, tokens) = padding;
        for (token, position) in tokens.iter().zip(0..) {
            self.add_token(*token, position, sequence)?;
        }
        Ok(())
    }

    fn add_soft(
        &mut self,
        row: &[f32],
        position: i32,
        sequences: [SequenceId; 2],
    ) -> Result<(), String> {
        let row = sys::llama_embd {
            data: row.as_ptr(),
            n_rows: 1,
            n_embd: row.len(),
        };
        // SAFETY: the batch is valid, and copies the row, which has as many floats as it says.
        let index = unsafe { sys::llama_batch_ext_add_embd(self.0.as_ptr(), sequences[0], row) };
        // SAFETY: the batch is valid; llama.cpp checks the index.
        let added = unsafe { sys::llama_batch_ext_add_seq(self.0.as_ptr(), index, sequences[1]) };
        self.place(index, position, added)
    }

    fn add_token(
        &mut self,
        token: Token,
        position: i32,
        sequence: SequenceId,
    ) -> Result<(), String> {
        // SAFETY: the batch is valid.
        let index = unsafe { sys::llama_batch_ext_add_token(self.0.as_ptr(), sequence, token) };
        self.place(index, position, true)
    }

    fn place(&mut self, index: i32, position: i32, added: bool) -> Result<(), String> {
        // SAFETY: the batch is valid; llama.cpp checks the index and reads one position, because
        // Gemma's have one part.
        let placed =
            unsafe { sys::llama_batch_ext_set_pos(self.0.as_ptr(), index, &raw const position) };
        if index >= 0 && added && placed {
            Ok(())
        } else {
            Err(format!("llama_batch_ext_add returned {index}"))
        }
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::llama_batch_ext_free(self.0.as_ptr()) }
    }
}
