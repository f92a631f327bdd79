//! The long questions: one under way, and those that wait.

use std::collections::VecDeque;

use crate::engine::llama::context::Context;
use crate::engine::schedule::sequence::{Job, Sequence};

/// A question, and its own context.
pub(super) struct Long {
    pub context: Context,
    pub sequence: Sequence,
}

/// The long questions: one under way, and those that wait.
#[derive(Default)]
pub(super) struct Longs {
    pub now: Option<Box<Long>>,
    waiting: VecDeque<Job>,
}

impl Longs {
    pub(super) fn enqueue(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Takes the shortest of those that wait, so that none waits for one much longer than itself that came first.
    pub(super) fn take_shortest(&mut self) -> Option<Job> {
        let lengths = self.waiting.iter().map(|job| job.prompt.len()).enumerate();
        let (nth, _) = lengths.min_by_key(|(_, length)| *length)?;
        self.waiting.remove(nth)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.is_none() && self.waiting.is_empty()
    }

    /// Number of those under way.
    pub(super) fn active(&self) -> usize {
        usize::from(self.now.is_some())
    }

    /// Cells of the context of the question under way; 0 if there is none.
    pub(super) fn cells(&self) -> usize {
        self.now.as_ref().map_or(0, |long| long.context.cells())
    }

    /// Drops those whose answer is not wanted any more, and returns their number.
    pub(super) fn drop_orphans(&mut self) -> usize {
        let before = self.waiting.len() + self.active();
        self.waiting.retain(|job| !job.is_orphan());
        self.now.take_if(|long| long.sequence.job.is_orphan());
        before - self.waiting.len() - self.active()
    }
}
