//! Cells that answers borrow beyond those they begin with, and who gives them back (`cells`).

use gemmad_api::Finish;

use super::Scheduler;
use crate::engine::Priority;
use crate::engine::cells::{Holding, Purse, next_to_end};
use crate::engine::context::SequenceId;
use crate::engine::sequence::Sequence;

/// Cells that an answer borrows at once.
const BORROWED: usize = 16;

impl Scheduler {
    /// Sees to it that every answer under way has cells for what it reads next. One that finds none ends.
    pub(super) fn lend(&mut self) {
        let ids: Vec<_> = self.active.iter().map(|it| it.id).collect();
        for id in ids {
            // It may have ended meanwhile, so that others got its cells.
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

    /// Ends the answer that has borrowed most cells beyond its share, if somebody else lacks `cells` of them and
    /// would get them by that. False: nothing was ended.
    pub(super) fn end_a_borrower(&mut self, cells: usize) -> bool {
        let is_question = |it: &&Sequence| it.job.priority == Priority::Question;
        let questions = self.active.iter().filter(is_question);
        let (ids, holdings): (Vec<_>, Vec<Holding>) =
            questions.map(|it| (it.id, it.holding())).unzip();
        let share = self.cells.share(self.parallel);
        let ending = next_to_end(&holdings, share, cells).map(|nth| ids[nth]);
        if let Some(id) = ending {
            self.end_for_cells(id);
        }
        ending.is_some()
    }

    /// Ends an answer for want of cells.
    fn end_for_cells(&mut self, id: SequenceId) {
        if let Some(index) = self.active.iter().position(|it| it.id == id) {
            self.release(index).finish(Finish::Length);
        }
    }
}
