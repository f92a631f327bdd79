//! Long questions: those that do not fit into the shared cells get a context of their own, one at a time.
//!
//! It is made when the question begins and freed when its answer ends. Layers with a window keep only the cells of that
//! window there (no `swa_full`), because nothing is shared with it or taken back: of E2B a token then takes 6 KB instead of
//! 18 KB. Speech and everything else goes first, other questions take turns with it.

use std::rc::Rc;
use std::time::Instant;

use super::Scheduler;
use super::longs::Long;
use crate::config::LongCache;
use crate::engine::llama::context::{Context, Shape};
use crate::engine::schedule::cells::{Block, Cells, Purse};
use crate::engine::schedule::sequence::{Base, Held, Job, Next, Sequence};
use crate::engine::{EngineError, Finish};

impl Scheduler {
    /// Begins the next long question, or computes a batch of the one under way.
    pub(super) fn step_long(&mut self) {
        let Some(mut long) = self.longs.now.take() else {
            return self.begin_long();
        };
        match self.computed(&mut long) {
            Ok(None) => self.longs.now = Some(long),
            Ok(Some(finish)) => {
                self.finished += 1;
                long.sequence.finish(finish);
            }
            Err(error) => {
                self.finished += 1;
                long.sequence.job.fail(error);
            }
        }
    }

    /// Ends the long question under way, because its memory is needed.
    pub(super) fn end_long(&mut self) {
        let Some(long) = self.longs.now.take() else {
            return;
        };
        let Long { context, sequence } = *long;
        let job = sequence.job;
        let error = self.fit.beside().lost(job.prompt.len());
        drop(context);
        self.finished += 1;
        log::info!(request = job.id; "a long question was ended, because memory is scarce");
        job.fail(error);
    }

    fn begin_long(&mut self) {
        let Some(job) = self.longs.take_shortest() else {
            return;
        };
        match self.context_for(&job) {
            Ok((context, own)) => {
                let held = Held {
                    shared: Vec::new(),
                    room: own.size(),
                    own,
                };
                self.longs.now = Some(Box::new(Long {
                    context,
                    sequence: Sequence::new(0, job, &Base::default(), held),
                }));
            }
            Err(error) => {
                self.finished += 1;
                job.fail(error);
            }
        }
    }

    /// A context for `job` alone, and its cells.
    fn context_for(&self, job: &Job) -> Result<(Context, Rc<Block>), EngineError> {
        let room = self.fit.beside().of(job.prompt.len(), job.max_tokens)?;
        let shape = Shape {
            cells: room.cells,
            sequences: 1,
            batch: u32::try_from(self.batch).unwrap_or(u32::MAX),
            keeps_all: false,
            is_small: self.long_cache == LongCache::Q8,
        };
        let context = Context::new(&self.model, &self.threads, shape)?;
        let cells = context.cells();
        log::info!(
            request = job.id, cells, bytes = room.bytes;
            "a long question has a context of its own"
        );
        let own = Cells::new(cells, 0).take(cells, Purse::Questions);
        // Never: nobody else has any of them.
        let own = own.ok_or(EngineError::Stopping)?;
        Ok((context, own))
    }

    /// Computes the next batch of a long question. Returns how its answer ended, if it did.
    fn computed(&mut self, long: &mut Long) -> Result<Option<Finish>, EngineError> {
        let Long { context, sequence } = long;
        let started = Instant::now();
        let draws = matches!(sequence.next(), Next::Token(_));
        let rows = sequence.token_rows(self.batch);
        context.decode_tokens(&rows)?;
        sequence.advance(rows.len(), started.elapsed());
        if !draws {
            return Ok(None);
        }
        let logits = context.logits(rows.len() - 1)?;
        let finish = sequence.sample(&self.model, logits, &mut self.candidates)?;
        Ok(finish.or((sequence.lacking() > 0).then_some(Finish::Length)))
    }
}
