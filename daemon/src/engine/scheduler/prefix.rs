//! What many requests begin with, kept in the KV cache for all of them to share.
//!
//! There is one such prefix for answers and one for commands, because declarations of commands are long and
//! an ordinary answer is not to know of them. The one for answers is read before the model is ready. A new
//! one is read when nothing else is to be done, batch by batch, or at once if a request begins with it: that
//! request waits, since it would have to read the same rows itself, and has room only if it shares them.

use std::rc::Rc;

use super::Scheduler;
use crate::engine::cells::{Block, Cells, Purse};
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
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The sequence that has it.
    pub from: SequenceId,
    /// Its rows.
    pub rows: usize,
    /// Their cells.
    pub cells: Vec<Rc<Block>>,
}

/// How a request begins.
#[derive(Debug)]
pub(super) enum Beginning {
    /// With these rows; perhaps none.
    Read(Shared),
    /// With the whole of a prefix that is still to be read: this one.
    Unread(SequenceId),
}

/// A prefix.
#[derive(Debug, Default)]
struct Prefix {
    tokens: Vec<Token>,
    /// How many of them are in the KV cache.
    read: usize,
    /// Their cells.
    cells: Option<Rc<Block>>,
    /// What takes its place when there are cells for it.
    next: Option<Vec<Token>>,
    /// Number of the change that brought the newest tokens.
    change: u64,
}

impl Prefix {
    fn is_unread(&self) -> bool {
        self.read < self.tokens.len()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Prefixes([Prefix; KEPT as usize]);

impl Prefixes {
    /// This one for answers, none of it read; there are cells for it.
    pub(super) fn for_answers(tokens: Vec<Token>, cells: &Cells) -> Self {
        let mut prefixes = Self::default();
        let prefix = &mut prefixes.0[Kept::Answers as usize];
        prefix.cells = cells.take(tokens.len(), Purse::Prefixes);
        prefix.tokens = tokens;
        prefixes
    }

    /// Makes `tokens` the next one. Changes are made in the order of their numbers, in whichever they come.
    pub(super) fn replace(&mut self, kept: Kept, change: u64, tokens: Vec<Token>) {
        let prefix = &mut self.0[kept as usize];
        if change >= prefix.change {
            prefix.change = change;
            prefix.next = (prefix.tokens != tokens).then_some(tokens);
        }
    }

    /// How a request begins whose first tokens are these.
    pub(super) fn beginning(&self, tokens: &[Token]) -> Beginning {
        let all = || (0..).zip(&self.0);
        let shared = all().map(|(from, prefix)| {
            let rows = prompt::common(tokens, &prefix.tokens[..prefix.read]);
            let cells = prefix.cells.iter().filter(|_| rows > 0);
            let cells = cells.cloned().collect();
            Shared { from, rows, cells }
        });
        let shared = shared.max_by_key(|it| it.rows).unwrap_or_default();
        let mut unread = all().filter(|(_, it)| it.is_unread() && it.tokens.len() > shared.rows);
        match unread.find(|(_, it)| tokens.starts_with(&it.tokens)) {
            Some((id, _)) => Beginning::Unread(id),
            None => Beginning::Read(shared),
        }
    }

    /// Rows they have.
    pub(super) fn rows(&self) -> usize {
        self.0.iter().map(|prefix| prefix.tokens.len()).sum()
    }

    /// Whether one is to be read.
    pub(super) fn is_unread(&self) -> bool {
        self.0.iter().any(Prefix::is_unread)
    }

    /// The first that is to be read.
    pub(super) fn first_unread(&self) -> Option<SequenceId> {
        let mut prefixes = (0..).zip(&self.0);
        prefixes.find(|(_, it)| it.is_unread()).map(|(id, _)| id)
    }

    /// Prefix number `id`.
    fn get(&mut self, id: SequenceId) -> Option<&mut Prefix> {
        self.0.get_mut(usize::try_from(id).ok()?)
    }
}

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

    /// Reads a batch of prefix `id`. One that fails is kept no longer.
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
        self.context.decode_tokens(&rows)?;
        prefix.read = end;
        Ok(())
    }

    /// Puts the next prefixes in the place of those that are kept, as soon as there are cells. Requests that
    /// began with the old rows keep them.
    pub(super) fn change_prefixes(&mut self) {
        for id in 0..KEPT {
            let Some(next) = self.prefixes.get(id).and_then(|it| it.next.take()) else {
                continue;
            };
            self.drop_prefix(id);
            let rows = self.prefixes.rows() + next.len();
            let capacity = self.capacity();
            if rows >= capacity {
                warn_not_kept(&EngineError::PromptTooLong { rows, capacity });
                continue;
            }
            let cells = self.cells.take(next.len(), Purse::Prefixes);
            let Some(prefix) = self.prefixes.get(id) else {
                continue;
            };
            match cells {
                Some(cells) => {
                    prefix.cells = Some(cells);
                    prefix.tokens = next;
                }
                None => prefix.next = Some(next),
            }
        }
    }

    fn drop_prefix(&mut self, id: SequenceId) {
        self.context.forget(id);
        if let Some(prefix) = self.prefixes.get(id) {
            *prefix = Prefix {
                change: prefix.change,
                ..Prefix::default()
            };
        }
    }
}

fn warn_not_kept(error: &EngineError) {
    log::warn!("a system prompt is not kept in the cache: {error}");
}
