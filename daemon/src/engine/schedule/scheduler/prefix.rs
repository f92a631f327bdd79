//! Prefixes that many requests begin with, kept in the KV cache for all of them to share.
//!
//! There is one for answers and one for commands, because declarations of commands are long and ordinary answers
//! must not see them. The prefix for answers is read before the model is ready. A new prefix is read batch by
//! batch when nothing else is to be computed, or at once if a request begins with it. That request waits, because
//! it would have to read the same rows itself, and has room only if it shares them.

use super::Scheduler;
use super::prefixes::KEPT;
use crate::engine::EngineError;
use crate::engine::llama::context::Row;
use crate::engine::llama::mixed::SequenceId;
use crate::engine::llama::model::Token;
use crate::engine::prompt;
use crate::engine::schedule::cells::Purse;

impl Scheduler {
    /// Reads all prefixes.
    ///
    /// # Errors
    /// When they fill the cache, or llama.cpp fails.
    pub(super) fn read_prefixes(&mut self) -> Result<(), EngineError> {
        let (rows, capacity) = (self.prefixes.rows(), self.capacity());
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        while let Some(id) = self.prefixes.first_unread() {
            self.read_prefix(id)?;
        }
        Ok(())
    }

    /// Reads a batch of prefix `id`. A prefix that fails is dropped.
    pub(super) fn step_prefix(&mut self, id: SequenceId) {
        match self.read_prefix(id) {
            Ok(()) | Err(EngineError::Stopping) => {}
            Err(error) => {
                warn_not_kept(&error);
                self.drop_prefix(id);
            }
        }
    }

    fn read_prefix(&mut self, id: SequenceId) -> Result<(), EngineError> {
        let Some(prefix) = self.prefixes.get(id).filter(|it| it.is_unread()) else {
            return Ok(());
        };
        let end = prefix.tokens.len().min(prefix.read + self.batch);
        let rows = Row::of(&prefix.tokens[prefix.read..end], prefix.read, id, false);
        self.make_room();
        self.context.decode_tokens(&rows)?;
        if let Some(prefix) = self.prefixes.get(id) {
            prefix.read = end;
        }
        Ok(())
    }

    /// Replaces kept prefixes by their successors, as soon as there are cells for these. The rows of a common beginning
    /// stay. Requests that began with the old rows keep them.
    pub(super) fn change_prefixes(&mut self) {
        for id in 0..KEPT {
            let Some(mut next) = self.prefixes.get(id).and_then(|it| it.next.take()) else {
                continue;
            };
            let common = self.cut_prefix(id, &next);
            let rows = self.prefixes.rows() - common + next.len();
            let capacity = self.capacity();
            if rows >= capacity {
                warn_not_kept(&EngineError::PromptTooLong { rows, capacity });
                // Its beginning is still of use.
                next.truncate(common);
            }
            let cells = self.cells.take(next.len(), Purse::Prefixes);
            if cells.is_none() {
                // Its rows are accounted for no longer.
                self.drop_prefix(id);
            }
            if let Some(prefix) = self.prefixes.get(id) {
                if cells.is_some() {
                    (prefix.cells, prefix.tokens) = (cells, next);
                } else {
                    prefix.next = Some(next);
                }
            }
        }
    }

    /// Forgets the rows of prefix `id` that a prefix of these tokens does not begin with, and gives up its cells. Returns
    /// the number of rows that stay.
    fn cut_prefix(&mut self, id: SequenceId, tokens: &[Token]) -> usize {
        let Some(prefix) = self.prefixes.get(id) else {
            return 0;
        };
        let common = prompt::common(tokens, &prefix.tokens[..prefix.read]);
        prefix.tokens.truncate(common);
        prefix.read = common;
        prefix.cells = None;
        self.context.truncate(id, common);
        // Their cells are accounted for no longer, but would stay in use.
        for past in self.pasts.give_up_after(id, common) {
            self.give_back(past);
        }
        common
    }

    fn drop_prefix(&mut self, id: SequenceId) {
        self.cut_prefix(id, &[]);
        if let Some(prefix) = self.prefixes.get(id) {
            prefix.next = None;
        }
    }
}

fn warn_not_kept(error: &EngineError) {
    log::warn!("a system prompt is not kept in the cache: {error}");
}
