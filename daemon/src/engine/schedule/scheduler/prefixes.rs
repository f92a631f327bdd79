//! The kept prefixes, and the rows of them that a request shares.

use std::rc::Rc;

use crate::engine::llama::mixed::SequenceId;
use crate::engine::llama::model::Token;
use crate::engine::prompt;
use crate::engine::schedule::cells::{Block, Cells, Purse};

/// The kind of requests that a preamble is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Answers.
    Answers,
    /// Utterances that may be commands.
    Commands,
}

/// Number of kept prefixes. Their sequences are the first ones.
pub(super) const KEPT: SequenceId = 2;

/// The beginning of a request that is in the KV cache already.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The sequence that has it.
    pub from: SequenceId,
    /// Number of its rows.
    pub rows: usize,
    /// The cells of those that are accounted for.
    pub cells: Vec<Rc<Block>>,
    /// The kept prefix that these are from, and their number.
    pub prefix: Option<(SequenceId, usize)>,
}

impl Shared {
    /// Number of rows whose cells are accounted for.
    pub(super) fn accounted(&self) -> usize {
        self.prefix.map_or(0, |(_, rows)| rows)
    }
}

/// How a request begins.
#[derive(Debug)]
pub(super) enum Beginning {
    /// With these cached rows, possibly none.
    Read(Shared),
    /// With the whole of this prefix, which has not been read to its end.
    Unread(SequenceId),
}

/// A prefix.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    pub tokens: Vec<Token>,
    /// Number of these tokens in the KV cache.
    pub read: usize,
    /// Their cells.
    pub cells: Option<Rc<Block>>,
    /// Tokens of its successor, which waits for cells.
    pub next: Option<Vec<Token>>,
    /// Number of the change that brought the newest tokens.
    pub change: u64,
}

impl Prefix {
    pub(super) fn is_unread(&self) -> bool {
        self.read < self.tokens.len()
    }
}

/// All kept prefixes.
#[derive(Debug, Default)]
pub(super) struct Prefixes([Prefix; KEPT as usize]);

impl Prefixes {
    /// The prefixes with `tokens` for answers, still unread. There are cells for it.
    pub(super) fn for_answers(change: u64, tokens: Vec<Token>, cells: &Cells) -> Self {
        let mut prefixes = Self::default();
        let prefix = &mut prefixes.0[Kept::Answers as usize];
        prefix.cells = cells.take(tokens.len(), Purse::Prefixes);
        (prefix.change, prefix.tokens) = (change, tokens);
        prefixes
    }

    /// Makes `tokens` the successor of a prefix. The change with the highest number counts, in whatever order they
    /// come.
    pub(super) fn replace(&mut self, kept: Kept, change: u64, tokens: Vec<Token>) {
        let prefix = &mut self.0[kept as usize];
        if change >= prefix.change {
            prefix.change = change;
            prefix.next = (prefix.tokens != tokens).then_some(tokens);
        }
    }

    /// How a request with these first tokens begins.
    pub(super) fn beginning(&self, tokens: &[Token]) -> Beginning {
        let all = || (0..).zip(&self.0);
        let shared = all().map(|(from, prefix)| {
            let rows = prompt::common(tokens, &prefix.tokens[..prefix.read]);
            let cells = prefix.cells.iter().filter(|_| rows > 0);
            let cells = cells.cloned().collect();
            let prefix = (rows > 0).then_some((from, rows));
            Shared {
                from,
                rows,
                cells,
                prefix,
            }
        });
        let shared = shared.max_by_key(|it| it.rows).unwrap_or_default();
        let mut unread = all().filter(|(_, it)| it.is_unread() && it.tokens.len() > shared.rows);
        match unread.find(|(_, it)| tokens.starts_with(&it.tokens)) {
            Some((id, _)) => Beginning::Unread(id),
            None => Beginning::Read(shared),
        }
    }

    /// Rows of all prefixes.
    pub(super) fn rows(&self) -> usize {
        self.0.iter().map(|prefix| prefix.tokens.len()).sum()
    }

    /// Whether a prefix is still to be read.
    pub(super) fn is_unread(&self) -> bool {
        self.0.iter().any(Prefix::is_unread)
    }

    /// The first prefix that is still to be read.
    pub(super) fn first_unread(&self) -> Option<SequenceId> {
        let mut prefixes = (0..).zip(&self.0);
        prefixes.find(|(_, it)| it.is_unread()).map(|(id, _)| id)
    }

    /// Whether these are the cells of a kept prefix.
    pub(super) fn has(&self, cells: &Rc<Block>) -> bool {
        let mut kept = self.0.iter().filter_map(|prefix| prefix.cells.as_ref());
        kept.any(|it| Rc::ptr_eq(it, cells))
    }

    /// Prefix number `id`.
    pub(super) fn get(&mut self, id: SequenceId) -> Option<&mut Prefix> {
        self.0.get_mut(usize::try_from(id).ok()?)
    }
}
