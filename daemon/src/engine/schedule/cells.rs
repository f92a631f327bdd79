//! Accounting of the KV cache's cells.
//!
//! Sequences with the same beginning share cells, and llama.cpp frees a cell when the last of them lets go of
//! it. A [`Block`] is counted in the same way: sequences with the same first rows hold the same block, and its
//! cells are free again when the last holder drops it.
//!
//! A part is reserved for speech, because its length is not known in advance. The rest, less the kept prefixes,
//! is divided into equal shares, one for each question that may be answered at the same time ([`Cells::share`]).
//! A request begins with cells for its prompt and for its answer, within its share if the prompt allows that
//! ([`answer_room`]). A longer answer borrows cells as long as any are free. When none are, the answer that has
//! borrowed most beyond its share ends ([`next_to_end`]); one within its share never does. So a request that
//! needs more than a share waits until every other question keeps its own ([`leaves_shares`]).

use std::cell::Cell;
use std::rc::Rc;

/// Minimum tokens of answer that a request needs cells for before it begins, unless it may write fewer.
pub(in crate::engine) const LEAST_ANSWER: usize = 64;

/// Groups of holders, whose cells are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Purse {
    /// Speech, and answers to it. It may take every free cell.
    Speech,
    /// Questions.
    Questions,
    /// Prefixes that are kept.
    Prefixes,
}

/// The cells of the cache.
#[derive(Debug)]
pub(in crate::engine) struct Cells {
    total: usize,
    /// Number of cells that only speech may take.
    for_speech: usize,
    taken: Rc<Taken>,
}

/// Number of cells set aside, by purse.
#[derive(Debug, Default)]
struct Taken([Cell<usize>; 3]);

impl Taken {
    fn by(&self, purse: Purse) -> &Cell<usize> {
        &self.0[purse as usize]
    }

    fn all(&self) -> usize {
        self.0.iter().map(Cell::get).sum()
    }
}

/// A number of cells, set aside as long as it lives.
#[derive(Debug)]
pub(in crate::engine) struct Block {
    size: usize,
    purse: Purse,
    taken: Rc<Taken>,
}

impl Block {
    /// Number of cells.
    pub(in crate::engine) fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let taken = self.taken.by(self.purse);
        taken.set(taken.get() - self.size);
    }
}

impl Cells {
    /// `total` free cells, of which `for_speech` are reserved for speech.
    pub(in crate::engine) fn new(total: usize, for_speech: usize) -> Self {
        Self {
            total,
            for_speech,
            taken: Rc::default(),
        }
    }

    /// Number of cells.
    pub(in crate::engine) fn total(&self) -> usize {
        self.total
    }

    /// Maximum cells of questions and prefixes together.
    pub(in crate::engine) fn beside_speech(&self) -> usize {
        self.total - self.for_speech
    }

    /// Number of cells set aside.
    pub(in crate::engine) fn taken(&self) -> usize {
        self.taken.all()
    }

    /// Number of cells set aside for prefixes.
    pub(in crate::engine) fn prefixes(&self) -> usize {
        self.taken.by(Purse::Prefixes).get()
    }

    /// Number of cells that `purse` may take now.
    pub(in crate::engine) fn free(&self, purse: Purse) -> usize {
        let free = self.total - self.taken.all();
        match purse {
            Purse::Speech => free,
            Purse::Questions | Purse::Prefixes => {
                let beside_speech = self.prefixes() + self.taken.by(Purse::Questions).get();
                free.min(self.beside_speech().saturating_sub(beside_speech))
            }
        }
    }

    /// Number of cells that all questions may have together.
    pub(in crate::engine) fn of_questions(&self) -> usize {
        self.beside_speech().saturating_sub(self.prefixes())
    }

    /// Number of cells guaranteed to each of `parallel` questions.
    pub(in crate::engine) fn share(&self, parallel: usize) -> usize {
        self.of_questions() / parallel
    }

    /// Sets `size` cells aside; `None` if fewer are free.
    pub(in crate::engine) fn take(&self, size: usize, purse: Purse) -> Option<Rc<Block>> {
        (size <= self.free(purse)).then(|| {
            let taken = self.taken.by(purse);
            taken.set(taken.get() + size);
            let taken = Rc::clone(&self.taken);
            Rc::new(Block { size, purse, taken })
        })
    }
}

/// A question that asks for cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Wanted {
    /// Rows of its prompt that it does not share.
    pub prompt: usize,
    /// Maximum tokens of its answer.
    pub most: usize,
}

/// Whether a question begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Admission {
    /// It begins with this number of cells.
    Begin(usize),
    /// It begins when this answer under way has ended; the answer has borrowed the cells.
    End(usize),
    /// It waits until other requests end.
    Wait,
}

impl Cells {
    /// Whether a question begins while at most `parallel` are under way. Those under way began with `begun` cells each;
    /// those of them that are being answered hold `answering`.
    pub(in crate::engine) fn admit(
        &self,
        Wanted { prompt, most }: Wanted,
        begun: &[usize],
        answering: &[Holding],
        parallel: usize,
    ) -> Admission {
        let (share, free) = (self.share(parallel), self.free(Purse::Questions));
        let room = answer_room(prompt, most, share, free);
        let first = prompt + room.unwrap_or(0);
        let others = begun.iter().copied();
        if begun.len() >= parallel || !leaves_shares(others, first, share, self.of_questions()) {
            return Admission::Wait;
        }
        if room.is_some() {
            return Admission::Begin(first);
        }
        let lacking = least(prompt, most).saturating_sub(free);
        next_to_end(answering, share, lacking).map_or(Admission::Wait, Admission::End)
    }
}

/// Cells without which no request begins.
pub(in crate::engine) fn least(prompt: usize, most: usize) -> usize {
    prompt + most.min(LEAST_ANSWER)
}

/// Tokens of answer that a request begins with, or `None` if it has to wait. Its prompt has `prompt` rows and its
/// answer at most `most` tokens; a request's share is `share` cells, and `free` cells are free.
///
/// With few free cells it begins with fewer tokens, and borrows cells for the rest later.
pub(in crate::engine) fn answer_room(
    prompt: usize,
    most: usize,
    share: usize,
    free: usize,
) -> Option<usize> {
    let fair = share.saturating_sub(prompt).max(LEAST_ANSWER).min(most);
    let room = free.checked_sub(prompt)?.min(fair);
    (room >= LEAST_ANSWER.min(most)).then_some(room)
}

/// Whether a request may begin with `first` cells. Each of the `others`, which began with these numbers of cells, keeps
/// those or its share, whichever is more; all questions together have `all` cells.
fn leaves_shares(
    others: impl Iterator<Item = usize>,
    first: usize,
    share: usize,
    all: usize,
) -> bool {
    let certain: usize = others.map(|other| other.max(share)).sum();
    certain + first.max(share) <= all
}

/// The cells that an answer under way holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Holding {
    /// Cells that are only its own.
    pub own: usize,
    /// How many of them it began with.
    pub first: usize,
}

impl Holding {
    /// Number of cells beyond those it began with and beyond a share of `share` cells.
    fn borrowed(self, share: usize) -> usize {
        self.own - self.first.max(share).min(self.own)
    }
}

/// Index of the answer under way that ends, because another request lacks `lacking` free cells: the one that has
/// borrowed most. `None` if all borrowers together hold too few.
pub(in crate::engine) fn next_to_end(
    holdings: &[Holding],
    share: usize,
    lacking: usize,
) -> Option<usize> {
    let borrowers = holdings.iter().enumerate();
    let borrowers = borrowers.filter(|(_, holding)| holding.borrowed(share) > 0);
    let held: usize = borrowers.clone().map(|(_, holding)| holding.own).sum();
    if held < lacking {
        return None;
    }
    let most = borrowers.max_by_key(|(_, holding)| holding.borrowed(share));
    most.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shared_block_is_counted_once_and_free_when_the_last_holder_lets_go() {
        let cells = Cells::new(100, 0);
        let block = cells.take(60, Purse::Questions).unwrap();
        assert!(cells.take(41, Purse::Speech).is_none());
        let other = Rc::clone(&block);
        drop(block);
        assert_eq!(cells.free(Purse::Questions), 40);
        drop(other);
        assert_eq!((cells.free(Purse::Questions), cells.taken()), (100, 0));
    }

    #[test]
    fn questions_and_prefixes_leave_the_cells_of_speech_and_speech_may_take_all() {
        let cells = Cells::new(100, 25);
        let prefix = cells.take(15, Purse::Prefixes).unwrap();
        assert_eq!(cells.share(2), 30);
        let _question = cells.take(60, Purse::Questions).unwrap();
        assert!(cells.take(1, Purse::Questions).is_none());
        assert!(cells.take(1, Purse::Prefixes).is_none());
        drop(prefix);
        let _speech = cells.take(40, Purse::Speech).unwrap();
        assert_eq!(cells.free(Purse::Prefixes), 0);
    }

    #[test]
    fn the_longest_answer_asked_for_does_not_take_the_share_of_the_next_request() {
        let (total, share) = (3000, 1500);
        let first = 50 + answer_room(50, 3000, share, total).unwrap();
        assert_eq!(first, 1500);
        let second = 60 + answer_room(60, 3000, share, total - first).unwrap();
        assert_eq!(second, 1500);
        // A long prompt is more than a share; its answer begins small.
        assert_eq!(answer_room(2000, 3000, share, total), Some(64));
        assert_eq!(answer_room(100, 3000, share, 150), None);
        assert_eq!(answer_room(100, 20, share, 120), Some(20));
    }

    #[test]
    fn the_answer_that_has_borrowed_most_ends_and_none_that_has_not() {
        let holding = |own, first| Holding { own, first };
        let within = holding(1000, 500);
        let long_prompt = holding(2000, 2000);
        assert_eq!(next_to_end(&[within, long_prompt], 1000, 10), None);
        let all = [
            within,
            holding(1200, 1000),
            holding(1900, 1000),
            long_prompt,
        ];
        assert_eq!(next_to_end(&all, 1000, 10), Some(2));
        // Ending it would not free enough.
        assert_eq!(next_to_end(&all, 1000, 4000), None);
    }

    #[test]
    fn a_prompt_longer_than_a_share_waits_until_the_others_keep_theirs() {
        let begins =
            |others: &[usize], first| leaves_shares(others.iter().copied(), first, 400, 1600);
        assert!(begins(&[100, 200, 400], 400));
        assert!(!begins(&[100, 200, 400], 429));
        assert!(begins(&[100, 200], 800));
        assert!(!begins(&[100, 900], 400));
        assert!(begins(&[], 1600));
    }

    /// A question, and the tokens of its whole answer.
    fn wanted() -> impl Strategy<Value = (Wanted, usize)> {
        let wanted = (1..400usize, 1..2000usize);
        let wanted = wanted.prop_map(|(prompt, most)| Wanted { prompt, most });
        (wanted, 1..1500usize)
    }

    struct Running {
        wanted: Wanted,
        length: usize,
        blocks: Vec<Rc<Block>>,
        first: usize,
        written: usize,
    }

    impl Running {
        fn holding(&self) -> Holding {
            let own = self.blocks.iter().map(|block| block.size()).sum();
            let first = self.first;
            Holding { own, first }
        }

        /// Writes the next token, for which there is a cell; false at the end.
        fn writes(&mut self) -> bool {
            self.written += 1;
            self.written < self.wanted.most.min(self.length)
        }
    }

    /// Questions in order of arrival, and those that have ended.
    struct Machine {
        cells: Cells,
        parallel: usize,
        running: Vec<Running>,
        ended: Vec<Running>,
    }

    impl Machine {
        fn share(&self) -> usize {
            self.cells.share(self.parallel)
        }

        fn end(&mut self, index: usize) {
            let mut ended = self.running.remove(index);
            ended.blocks.clear();
            self.ended.push(ended);
        }

        fn holdings(&self) -> Vec<Holding> {
            self.running.iter().map(Running::holding).collect()
        }

        fn begins(&mut self, wanted: Wanted, length: usize) -> bool {
            loop {
                let begun: Vec<_> = self.running.iter().map(|it| it.first).collect();
                match self
                    .cells
                    .admit(wanted, &begun, &self.holdings(), self.parallel)
                {
                    Admission::Begin(first) => {
                        self.running.push(Running {
                            wanted,
                            length,
                            blocks: vec![self.cells.take(first, Purse::Questions).unwrap()],
                            first,
                            written: 0,
                        });
                        return true;
                    }
                    Admission::End(index) => self.end(index),
                    Admission::Wait => return false,
                }
            }
        }

        /// Every running answer writes a token.
        fn step(&mut self) {
            let mut index = 0;
            while index < self.running.len() {
                let it = &self.running[index];
                let holding = it.holding();
                if it.wanted.prompt + it.written + 1 > holding.own {
                    let Some(block) = self.cells.take(1, Purse::Questions) else {
                        let ending = next_to_end(&self.holdings(), self.share(), 1);
                        assert!(
                            ending.is_some() || holding.own >= self.share().max(holding.first),
                            "an answer within its share found no cell"
                        );
                        let ending = ending.unwrap_or(index);
                        index -= usize::from(ending < index);
                        self.end(ending);
                        continue;
                    };
                    self.running[index].blocks.push(block);
                }
                if self.running[index].writes() {
                    index += 1;
                } else {
                    self.end(index);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whoever_comes_begins_in_turn_and_gets_at_least_a_share(
            requests in prop::collection::vec((wanted(), 0..300usize), 1..24),
            parallel in 1..5usize,
            speech in 0..400usize,
        ) {
            let cells = Cells::new(2000, 400);
            let mut machine = Machine { cells, parallel, running: vec![], ended: vec![] };
            let _speech = machine.cells.take(speech, Purse::Speech).unwrap();
            let share = machine.share();
            let count = requests.len();
            for ((wanted, length), pause) in requests {
                let mut patience = 100_000;
                while !machine.begins(wanted, length) {
                    // Another one is running, or this one would have begun: it fits into the empty cache.
                    prop_assert!(!machine.running.is_empty());
                    machine.step();
                    patience -= 1;
                    prop_assert!(patience > 0);
                }
                for _ in 0..pause {
                    machine.step();
                }
            }
            while !machine.running.is_empty() {
                machine.step();
            }
            prop_assert_eq!(machine.cells.taken(), speech);
            prop_assert_eq!(machine.ended.len(), count);
            for Running { wanted, length, written, .. } in &machine.ended {
                let whole = wanted.most.min(*length);
                let certain = share.saturating_sub(wanted.prompt).max(LEAST_ANSWER.min(whole));
                prop_assert!(*written >= whole.min(certain), "{wanted:?} has {written} of {certain}");
            }
        }

        #[test]
        fn requests_within_their_shares_never_wait_for_cells(
            requests in prop::collection::vec(wanted(), 1..5),
        ) {
            let cells = Cells::new(4 * 500, 0);
            let mut machine = Machine { cells, parallel: 4, running: vec![], ended: vec![] };
            for (wanted, length) in requests {
                prop_assert!(machine.begins(wanted, length));
            }
        }
    }
}
