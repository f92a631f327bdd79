//! Sound: turns that are spoken, and the order in which their rows are computed.

use std::rc::Rc;

use super::prefixes::Beginning;
use super::{Scheduler, TURNS};
use crate::engine::EngineError;
use crate::engine::schedule::cells::{Block, Purse};
use crate::engine::schedule::hearing::{Hearing, Opening, TurnId};
use crate::engine::schedule::sequence::Job;

impl Scheduler {
    pub(super) fn listen(&mut self, opening: Opening) {
        let Some(id) = self.sequence_of_orphan() else {
            // Never: `places` admits no more turns than there are sequences for.
            log::error!("no sequence is free for a spoken turn");
            return;
        };
        self.hearings.push(Hearing::open(id, opening));
    }

    pub(super) fn hear(&mut self, turn: TurnId, samples: &[f32]) {
        if let Some(hearing) = self.hearing_of(turn) {
            self.hearings[hearing].push(samples);
        }
    }

    /// Closes a fork of the turn, which is then computed to its end and answered.
    pub(super) fn ask(&mut self, turn: TurnId, jobs: Vec<Job>) {
        let fail = |jobs: Vec<Job>, error: &EngineError| {
            for job in jobs {
                job.fail(error.clone());
            }
        };
        let Some(id) = self.sequence_of_orphan() else {
            return fail(jobs, &EngineError::Listening { turns: TURNS });
        };
        let open = self.hearing_of(turn).map(|index| &self.hearings[index]);
        match open.map(|open| (open, open.failed())) {
            Some((open, None)) => {
                self.context.share(open.id, id, open.base.rows);
                let closed = open.closed(id, jobs);
                self.hearings.push(closed);
            }
            failed => {
                let error = failed.and_then(|(_, error)| error.cloned());
                self.free.push(id);
                fail(jobs, &error.unwrap_or(EngineError::Stopping));
            }
        }
    }

    pub(super) fn close(&mut self, turn: TurnId) {
        if let Some(index) = self.hearing_of(turn) {
            self.forget(index);
        }
    }

    /// The open hearing of a turn.
    fn hearing_of(&self, turn: TurnId) -> Option<usize> {
        let mut hearings = self.hearings.iter();
        hearings.position(|hearing| hearing.turn() == Some(turn))
    }

    /// The hearing whose rows are computed next: the most urgent class first, and within it closed hearings
    /// before open ones.
    pub(super) fn next_hearing(&self) -> Option<usize> {
        let hearings = self.hearings.iter().enumerate();
        let ready = hearings.filter(|(_, hearing)| hearing.upcoming(self.batch) > 0);
        let first = ready.min_by_key(|(_, it)| (it.priority, it.turn().is_some()));
        first.map(|(index, _)| index)
    }

    pub(super) fn step_hearing(&mut self, index: usize) {
        if self.hearings[index].is_fresh() {
            match self
                .prefixes
                .beginning(&self.hearings[index].first_tokens())
            {
                Beginning::Unread(id) => return self.step_prefix(id),
                Beginning::Read(shared) => {
                    let hearing = &mut self.hearings[index];
                    self.context.share(shared.from, hearing.id, shared.rows);
                    hearing.begin_with(shared.rows, shared.cells);
                }
            }
        }
        if self.hearings[index].reserved.is_none() {
            let rows = self.hearings[index].upcoming(self.batch);
            match self.cells_for_sound(rows) {
                Some(block) => self.hearings[index].cells.push(block),
                None => return self.wait_for_cells(index, rows),
            }
        }
        if self.hearings[index].is_ending(self.batch) {
            self.begin_first(index);
        }
        if let Err(error) = self.feed(index) {
            self.fail_hearing(index, &error);
        }
    }

    fn feed(&mut self, index: usize) -> Result<(), EngineError> {
        let batch = self.batch;
        self.make_room();
        self.hearings[index].feed(&mut self.context, batch)
    }

    fn cells_for_sound(&mut self, rows: usize) -> Option<Rc<Block>> {
        loop {
            let free = self.cells.free(Purse::Speech);
            match self.cells.take(rows, Purse::Speech) {
                None if self.end_a_borrower(rows - free) => {}
                cells => return cells,
            }
        }
    }

    /// Goes on with the answers under way when sound finds no free cells, until one gives cells back. Without any
    /// under way, the hearing fails.
    fn wait_for_cells(&mut self, index: usize, rows: usize) {
        if self.active.is_empty() {
            return self.fail_for_cells(index, rows);
        }
        let (generating, reading) = self.generating_and_reading(|_| true);
        if reading.is_empty() {
            self.step_generating(&generating);
        } else {
            self.step_tokens(&reading, self.batch);
        }
    }

    pub(super) fn fail_hearing(&mut self, index: usize, error: &EngineError) {
        self.context.forget(self.hearings[index].id);
        for job in self.hearings[index].fail(error.clone()) {
            self.finished += 1;
            job.fail(error.clone());
        }
        if self.hearings[index].turn().is_none() {
            self.forget(index);
        }
    }

    /// Takes a hearing out and gives its sequence back.
    pub(super) fn forget(&mut self, index: usize) {
        let hearing = self.hearings.remove(index);
        if let Some(lead) = hearing.lead.filter(|lead| lead.id != hearing.id) {
            self.give_back(lead.id);
        }
        self.give_back(hearing.id);
    }
}
