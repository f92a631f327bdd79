//! A batch of soft tokens with tokens behind them: the end of what was heard, and what closes the turn.
//!
//! Every batch reads the weights from memory once, which on a small machine takes longer than computing a few
//! rows with them; llama.cpp's extended batches (llama.h, `llama_batch_ext`) take both kinds of rows.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::context::SequenceId;
use super::model::Token;

/// Rows of a batch, soft ones and tokens.
#[derive(Debug)]
pub(super) struct Mixed(NonNull<sys::llama_batch_ext>);

impl Mixed {
    /// An empty batch for a context. `None` when there is no memory.
    ///
    /// # Safety
    /// `context` is valid, and the batch is not filled after its end.
    pub(super) unsafe fn new(context: *mut sys::llama_context) -> Option<Self> {
        // SAFETY: promised by the caller.
        NonNull::new(unsafe { sys::llama_batch_ext_init(context) }).map(Self)
    }

    /// For llama.cpp. Valid as long as `self`.
    pub(super) fn raw(&mut self) -> *mut sys::llama_batch_ext {
        self.0.as_ptr()
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        // SAFETY: the batch is valid.
        unsafe { sys::llama_batch_ext_clear(self.0.as_ptr()) }
    }

    /// Adds a soft token of these sequences.
    ///
    /// # Errors
    /// When the batch is full, or the model's width is another.
    pub(super) fn add_soft(
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

    /// Adds a token of a sequence.
    ///
    /// # Errors
    /// When the batch is full, or there is no such token.
    pub(super) fn add_token(
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
