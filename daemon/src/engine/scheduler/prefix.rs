//! What many requests begin with, kept in the KV cache for all of them to share.
//!
//! There is one such prefix for answers and one for commands, because declarations of commands are long and
//! an ordinary answer is not to know of them. The one for answers is read before the model is ready; a new
//! one is read when nothing else is to be done, batch by batch, and shared as far as it has been read.

use super::Scheduler;
use crate::engine::cells::Cells;
use crate::engine::context::{Row, SequenceId};
use crate::engine::model::Token;
use crate::engine::{EngineError, prompt};

/// For which requests a preamble is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Answers.
    Answers,
    /// What may be a command.
    Commands,
}

/// How many there are; their sequences are the first.
pub(super) const KEPT: SequenceId = 2;

/// The beginning of a request that is in the KV cache already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The sequence that has it.
    pub from: SequenceId,
    /// Its rows.
    pub rows: usize,
}

/// A prefix.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    tokens: Vec<Token>,
    /// How many of them are in the KV cache.
    read: usize,
    /// What takes its place as soon as nobody uses it.
    next: Option<Vec<Token>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Prefixes([Prefix; KEPT as usize]);

impl Prefixes {
    /// This one for answers, none of it read.
    pub(super) fn for_answers(tokens: Vec<Token>) -> Self {
        let mut prefixes = Self::default();
        prefixes.0[Kept::Answers as usize].tokens = tokens;
        prefixes
    }

    /// Makes `tokens` the next one.
    pub(super) fn replace(&mut self, kept: Kept, tokens: Vec<Token>) {
        let prefix = &mut self.0[kept as usize];
        prefix.next = (prefix.tokens != tokens).then_some(tokens);
    }

    /// The most of the beginning of `tokens` that can be shared.
    pub(super) fn shared_with(&self, tokens: &[Token]) -> Shared {
        let shared = (0..).zip(&self.0).map(|(from, prefix)| {
            let rows = prompt::common(tokens, &prefix.tokens[..prefix.read]);
            Shared { from, rows }
        });
        let none = Shared { from: 0, rows: 0 };
        shared.max_by_key(|it| it.rows).unwrap_or(none)
    }

    /// The cells they have.
    pub(super) fn cells(&self) -> usize {
        self.0.iter().map(|prefix| prefix.tokens.len()).sum()
    }

    /// Whether one is to be read.
    pub(super) fn is_unread(&self) -> bool {
        self.0
            .iter()
            .any(|prefix| prefix.read < prefix.tokens.len())
    }

    /// The next rows to be read, at most `most`, and of which prefix.
    fn unread(&mut self, most: usize) -> Option<(&mut Prefix, Vec<Row>)> {
        let mut prefixes = (0..).zip(&mut self.0);
        let (id, prefix) = prefixes.find(|(_, it)| it.read < it.tokens.len())?;
        let end = prefix.tokens.len().min(prefix.read + most);
        let rows = Row::of(&prefix.tokens[prefix.read..end], prefix.read, id, false);
        Some((prefix, rows))
    }
}

impl Scheduler {
    /// Reads all prefixes.
    ///
    /// # Errors
    /// When they fill the cache, or llama.cpp fails.
    pub(super) fn read_prefixes(&mut self) -> Result<(), EngineError> {
        let (rows, capacity) = (self.prefixes.cells(), self.capacity());
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        while self.prefixes.is_unread() {
            self.read_prefix()?;
        }
        Ok(())
    }

    /// Reads a batch of a prefix. One that fails is kept no longer.
    pub(super) fn step_prefix(&mut self) {
        if let Err(error) = self.read_prefix() {
            self.forget_unread(&error);
        }
    }

    fn read_prefix(&mut self) -> Result<(), EngineError> {
        let Some((prefix, rows)) = self.prefixes.unread(self.batch) else {
            return Ok(());
        };
        self.context.decode_tokens(&rows)?;
        prefix.read += rows.len();
        Ok(())
    }

    /// Puts the next prefixes in the place of those that are kept, once nobody uses any.
    pub(super) fn change_prefixes(&mut self) {
        if !self.active.is_empty() || !self.hearings.is_empty() {
            return;
        }
        let mut changed = false;
        for (id, prefix) in (0..).zip(&mut self.prefixes.0) {
            if let Some(tokens) = prefix.next.take() {
                self.context.forget(id);
                *prefix = Prefix {
                    tokens,
                    ..Prefix::default()
                };
                changed = true;
            }
        }
        if !changed {
            return;
        }
        let (rows, capacity) = (self.prefixes.cells(), self.capacity());
        if rows >= capacity {
            self.forget_unread(&EngineError::PromptTooLong { rows, capacity });
        }
        self.count_cells();
        self.report();
    }

    fn forget_unread(&mut self, error: &EngineError) {
        log::warn!("a system prompt is not kept in the cache: {error}");
        for (id, prefix) in (0..).zip(&mut self.prefixes.0) {
            if prefix.read < prefix.tokens.len() {
                self.context.forget(id);
                *prefix = Prefix::default();
            }
        }
        if self.active.is_empty() && self.hearings.is_empty() {
            self.count_cells();
        }
    }

    /// Sets aside what the prefixes take; nobody may hold cells now.
    fn count_cells(&mut self) {
        let total = self.context.cells().saturating_sub(self.prefixes.cells());
        self.cells = Cells::new(total);
    }
}
