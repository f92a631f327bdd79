//! The system prompt that is kept in the KV cache, for all to share.

use super::Scheduler;
use crate::engine::EngineError;
use crate::engine::cells::Cells;
use crate::engine::context::{Row, SequenceId};

/// The sequence that holds it.
pub(super) const PREFIX: SequenceId = 0;

impl Scheduler {
    /// Puts it into the cache.
    ///
    /// # Errors
    /// When it fills the cache.
    pub(super) fn prefill_prefix(&mut self) -> Result<(), EngineError> {
        let (rows, capacity) = (self.prefix.len(), self.capacity());
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        Row::of(&self.prefix, 0, PREFIX, false)
            .chunks(self.batch)
            .try_for_each(|rows| self.context.decode_tokens(rows))
    }

    /// Puts the next system prompt in the place of the one that is kept, once nobody uses that.
    pub(super) fn change_prefix(&mut self) {
        if !self.active.is_empty() || !self.hearings.is_empty() {
            return;
        }
        let Some(prefix) = self.next_prefix.take() else {
            return;
        };
        self.context.forget(PREFIX);
        self.prefix = prefix;
        if let Err(error) = self.prefill_prefix() {
            log::warn!("the system prompt is not kept in the cache: {error}");
            self.context.forget(PREFIX);
            self.prefix.clear();
        }
        self.cells = Cells::new(self.context.cells().saturating_sub(self.prefix.len()));
        self.report();
    }
}
