//! Lending: answers borrow cells beyond those they began with, and some end so that others get cells (`cells`).

use super::Scheduler;
use crate::engine::llama::mixed::SequenceId;
use crate::engine::schedule::cells::{Holding, Purse, next_to_end};
use crate::engine::schedule::sequence::Sequence;
use crate::engine::{Finish, Priority};

/// Cells that an answer borrows at a time, if as many are free.
const BORROWED: usize = 16;

impl Scheduler {
    /// Gives every answer under way the cells for what it reads next. An answer that finds none ends.
    pub(super) fn lend(&mut self) {
        let ids: Vec<_> = self.active.iter().map(|it| it.id).collect();
        for id in ids {
            // It may have ended meanwhile, to free cells for another.
            while let Some(index) = self.active.iter().position(|it| it.id == id) {
                let sequence = &mut self.active[index];
                let lacking = sequence.lacking();
                if lacking == 0 {
                    break;
                }
                let purse = match sequence.job.priority {
                    Priority::Speech => Purse::Speech,
                    Priority::Question => Purse::Questions,
                };
                let free = self.cells.free(purse);
                let size = lacking.max(BORROWED.min(free));
                if let Some(block) = self.cells.take(size, purse) {
                    sequence.borrow(block);
                } else if !self.end_a_borrower(lacking - free) {
                    self.end_for_cells(id);
                }
            }
        }
    }

    /// Ends the answer to a question that has borrowed most cells beyond its share, because another request lacks
    /// `cells` cells. Ends none and returns false if all borrowers together hold too few.
    pub(super) fn end_a_borrower(&mut self, cells: usize) -> bool {
        let ending = self.next_borrower(cells);
        if let Some(id) = ending {
            self.end_for_cells(id);
        }
        ending.is_some()
    }

    /// The answer that [`Self::end_a_borrower`] ends.
    pub(super) fn next_borrower(&self, cells: usize) -> Option<SequenceId> {
        let (ids, holdings): (Vec<_>, Vec<_>) = self.answering().unzip();
        let share = self.cells.share(self.parallel);
        next_to_end(&holdings, share, cells).map(|nth| ids[nth])
    }

    /// The answers to questions that are under way, with the cells they hold.
    pub(super) fn answering(&self) -> impl Iterator<Item = (SequenceId, Holding)> {
        let is_question = |it: &&Sequence| it.job.priority == Priority::Question;
        let questions = self.active.iter().filter(is_question);
        questions.map(|it| (it.id, it.holding()))
    }

    /// Ends an answer for want of cells.
    pub(super) fn end_for_cells(&mut self, id: SequenceId) {
        if let Some(index) = self.active.iter().position(|it| it.id == id) {
            self.release(index).finish(Finish::Length);
        }
    }
}
