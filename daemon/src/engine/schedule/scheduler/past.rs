//! Prompts that were read for answers that have ended. Their rows stay in the KV cache until the cells are needed, the
//! least recently used go first, and a request of the same owner that begins alike shares them.
//!
//! Only rows that were read as a prompt are kept. Those of the answer were computed one by one, with other rounding, so
//! that a request which shared them could be answered otherwise than with an empty cache.

use std::sync::Arc;

use crate::engine::llama::mixed::SequenceId;
use crate::engine::llama::model::Token;
use crate::engine::prompt;

/// Fewest rows, beside those of a kept prefix, for which a prompt occupies a sequence.
const LEAST: usize = 16;

/// The rows of a prompt.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Past {
    /// The user who asked. Statistics tell which rows were shared, so others must not share them.
    pub owner: Arc<str>,
    /// The tokens of its rows.
    pub tokens: Vec<Token>,
    /// The kept prefix whose rows it begins with, and their number.
    pub prefix: Option<(SequenceId, usize)>,
}

impl Past {
    /// Number of rows that are its own.
    fn own(&self) -> usize {
        self.tokens.len() - self.prefix.map_or(0, |(_, rows)| rows)
    }
}

/// All of them, the least recently used first.
#[derive(Debug, Default)]
pub(super) struct Pasts(Vec<(SequenceId, Past)>);

impl Pasts {
    /// Keeps the rows of sequence `id`. Returns the sequences that are free for it: `id` itself if the rows are kept
    /// already or are too few, or those whose rows it has too.
    pub(super) fn add(&mut self, id: SequenceId, past: Past) -> Vec<SequenceId> {
        let holds = |long: &Past, short: &Past| {
            long.owner == short.owner && long.tokens.starts_with(&short.tokens)
        };
        if past.own() < LEAST {
            return vec![id];
        }
        if let Some((longer, _)) = self.0.iter().find(|(_, it)| holds(it, &past)) {
            self.touch(*longer);
            return vec![id];
        }
        let freed = self.take(|it| holds(&past, it));
        self.0.push((id, past));
        freed
    }

    /// The sequence of `owner` that has most of these tokens, and the number of its first rows that have them. It begins
    /// with the rows of the same kept prefix as the tokens, which are then accounted for once.
    pub(super) fn find(
        &self,
        owner: &str,
        tokens: &[Token],
        prefix: Option<(SequenceId, usize)>,
    ) -> Option<(SequenceId, usize)> {
        let is_meant = |past: &Past| *past.owner == *owner && past.prefix == prefix;
        let mine = self.0.iter().filter(|(_, past)| is_meant(past));
        let rows = mine.map(|(id, past)| (*id, prompt::common(tokens, &past.tokens)));
        rows.max_by_key(|(_, rows)| *rows)
    }

    /// Makes the rows of sequence `id` the most recently used, if they are kept here.
    pub(super) fn touch(&mut self, id: SequenceId) {
        if let Some(nth) = self.0.iter().position(|(it, _)| *it == id) {
            let touched = self.0.remove(nth);
            self.0.push(touched);
        }
    }

    /// Number of rows that are in no accounted cells.
    pub(super) fn rows(&self) -> usize {
        self.0.iter().map(|(_, past)| past.own()).sum()
    }

    /// Gives up the least recently used; returns its sequence.
    pub(super) fn give_up(&mut self) -> Option<SequenceId> {
        let first = (!self.0.is_empty()).then(|| self.0.remove(0));
        first.map(|(id, _)| id)
    }

    /// Gives up those that begin with more than `rows` rows of this prefix; returns their sequences.
    pub(super) fn give_up_after(&mut self, prefix: SequenceId, rows: usize) -> Vec<SequenceId> {
        let is_meant = |(id, shared)| id == prefix && shared > rows;
        self.take(|past| past.prefix.is_some_and(is_meant))
    }

    fn take(&mut self, is_meant: impl Fn(&Past) -> bool) -> Vec<SequenceId> {
        let taken = self.0.extract_if(.., |(_, past)| is_meant(past));
        taken.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(owner: &str, tokens: impl IntoIterator<Item = Token>) -> Past {
        Past {
            owner: owner.into(),
            tokens: tokens.into_iter().collect(),
            prefix: None,
        }
    }

    #[test]
    fn a_prompt_is_found_by_its_beginning_and_by_its_owner_only() {
        let mut pasts = Pasts::default();
        assert!(pasts.add(1, past("ada", 0..100)).is_empty());
        assert!(pasts.add(2, past("bob", 0..200)).is_empty());
        let asked: Vec<_> = (0..50).chain(500..600).collect();
        assert_eq!(pasts.find("ada", &asked, None), Some((1, 50)));
        assert_eq!(pasts.find("bob", &asked, None), Some((2, 50)));
        assert_eq!(pasts.find("eve", &asked, None), None);
        assert_eq!(pasts.find("ada", &asked, Some((0, 30))), None);
    }

    #[test]
    fn a_longer_prompt_takes_the_place_of_its_beginning_and_a_shorter_one_is_not_kept() {
        let mut pasts = Pasts::default();
        assert!(pasts.add(1, past("ada", 0..100)).is_empty());
        assert_eq!(pasts.add(2, past("ada", 0..150)), [1]);
        assert_eq!(pasts.add(3, past("ada", 0..120)), [3]);
        assert_eq!(pasts.add(4, past("ada", 0..10)), [4]);
        assert!(pasts.add(5, past("bob", 0..120)).is_empty());
        assert_eq!(pasts.rows(), 270);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut pasts = Pasts::default();
        for id in 1..=3 {
            pasts.add(id, past("ada", id * 1000..id * 1000 + 20));
        }
        assert_eq!(pasts.find("ada", &[1000, 1001], None), Some((1, 2)));
        pasts.touch(1);
        let order: Vec<_> = std::iter::from_fn(|| pasts.give_up()).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn with_a_prefix_go_those_that_begin_with_it() {
        let mut pasts = Pasts::default();
        let after = |prefix| Past {
            prefix: Some((prefix, 40)),
            ..past("ada", prefix * 1000..prefix * 1000 + 100)
        };
        pasts.add(5, after(0));
        pasts.add(6, after(1));
        assert_eq!(pasts.rows(), 120);
        assert!(pasts.give_up_after(0, 40).is_empty());
        assert_eq!(pasts.give_up_after(0, 39), [5]);
        assert_eq!(pasts.rows(), 60);
    }
}
