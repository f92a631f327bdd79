//! Admission: questions, and answers about sound, get a sequence and their cells here.
//!
//! Cells for the prompt and for a part of the answer are set aside when a request begins; a long answer takes more
//! as it grows (`cells`). The length of a spoken turn is not known in advance, so it takes cells as it grows; a
//! quarter of all cells is kept from questions for that.

use std::borrow::Cow;
use std::rc::Rc;

use super::Scheduler;
use super::past::Past;
use super::prefixes::{Beginning, Shared};
use super::waiting::Waiting;
use crate::engine::llama::mixed::SequenceId;
use crate::engine::llama::model::Token;
use crate::engine::schedule::cells::{Admission, Block, Purse, Wanted, answer_room, least};
use crate::engine::schedule::hearing::{Hearing, Lead};
use crate::engine::schedule::sequence::{Base, Held, Job, Sequence};
use crate::engine::{EngineError, Priority};

/// When a question may begin.
enum Room {
    /// Now, with this beginning and these cells.
    Now(Shared, Rc<Block>),
    /// Once this prefix, with which it begins, has been read.
    AfterPrefix(SequenceId),
    /// Once this answer, which has borrowed cells, has ended.
    AfterAnswer(SequenceId),
    /// Once other requests have ended.
    Later,
}

/// A sequence and cells for an answer.
struct Begun {
    id: SequenceId,
    cells: Rc<Block>,
    /// Tokens of its prompt that are in the KV cache.
    read: usize,
}

impl Scheduler {
    /// Begins everything there is room for: first answers about complete sound, then questions in order of
    /// arrival.
    pub(super) fn admit(&mut self) {
        for index in (0..self.hearings.len()).rev() {
            if self.hearings[index].is_complete() {
                self.begin_answers(index);
            }
        }
        self.wanted = None;
        while let Some(first) = self.queue.front() {
            match self.room_for(first) {
                Room::Now(shared, cells) => {
                    self.pasts.touch(shared.from);
                    let Some(id) = self.sequence() else { return };
                    // Never: the queue has a front.
                    let Some(waiting) = self.queue.pop_front() else {
                        return;
                    };
                    self.begin(waiting, id, shared, cells);
                }
                Room::AfterPrefix(id) => {
                    self.wanted = Some((id, first.job().priority));
                    return;
                }
                Room::AfterAnswer(id) => self.end_for_cells(id),
                Room::Later if self.is_hopeless(first.job().priority) => self.refuse_first(),
                Room::Later => return,
            }
        }
    }

    /// Whether nothing is under way that could make room for the first in the queue. A turn that is heard makes room for
    /// questions when it ends, but what is part of answering it cannot wait for that.
    fn is_hopeless(&self, priority: Priority) -> bool {
        let mut hearings = self.hearings.iter();
        let nothing_is_heard = match priority {
            Priority::Question => hearings.len() == 0,
            Priority::Speech => hearings.all(|it| it.turn().is_some() || it.is_complete()),
        };
        self.active.is_empty() && nothing_is_heard
    }

    /// Takes the first request out of the queue: there is no room for it although nothing else is under way.
    fn refuse_first(&mut self) {
        let Some(waiting) = self.queue.pop_front() else {
            return;
        };
        let waiting = match waiting {
            // It may have a context of its own.
            Waiting::Typed(job) if job.priority == Priority::Question => {
                return self.longs.enqueue(job);
            }
            waiting => waiting,
        };
        self.finished += 1;
        let shared = match self.prefixes.beginning(&waiting.first_tokens()) {
            Beginning::Read(shared) => shared.rows,
            Beginning::Unread(_) => 0,
        };
        let error = EngineError::PromptTooLong {
            rows: waiting.rows(),
            capacity: self.cells.free(Purse::Questions) + shared,
        };
        waiting.into_job().fail(error);
    }

    /// Lets the prompt of the first answer about a hearing share a batch with the last rows of the sound, if there
    /// is room for the answer.
    pub(super) fn begin_first(&mut self, index: usize) {
        let Some([job, ..]) = self.hearings[index].jobs().map(|jobs| jobs.as_slice()) else {
            return;
        };
        // A prompt has at least the token that opens the model's turn.
        let prompt = job.prompt[..job.prompt.len() - 1].to_vec();
        let request = job.id;
        if let Some(cells) = self.cells_for(index)
            && let Some(id) = self.sequence_for(index)
        {
            self.hearings[index].lead = Some(Lead {
                request,
                id,
                cells,
                prompt,
                is_read: false,
            });
        }
    }

    /// Begins the answers about a complete hearing, in order, as far as there is room. The last one
    /// takes over the hearing's sequence.
    fn begin_answers(&mut self, index: usize) {
        while let Some(jobs) = self.hearings[index].jobs()
            && let [job, more @ ..] = jobs.as_slice()
        {
            let (request, is_last) = (job.id, more.is_empty());
            let Some(begun) = self.lead_of(index, request).or_else(|| self.follow(index)) else {
                return;
            };
            let hearing = &mut self.hearings[index];
            let base = hearing.base.clone();
            let held = Held {
                room: begun.cells.size() - hearing.used_of_reserved(),
                shared: hearing.cells.clone(),
                own: begun.cells,
            };
            // Never: there is at least one.
            let Some(job) = hearing.jobs().map(|jobs| jobs.remove(0)) else {
                return;
            };
            let sequence = Sequence::new(begun.id, job, &base, held);
            self.active.push(sequence.having_read(begun.read));
            if is_last {
                self.hearings.remove(index);
                return;
            }
        }
    }

    /// The answer whose prompt shared a batch with the last rows, if it is that to `request`.
    fn lead_of(&mut self, index: usize, request: u64) -> Option<Begun> {
        let hearing = &mut self.hearings[index];
        let (own, lead) = (hearing.id, hearing.lead.take()?);
        if lead.is_read && lead.request == request {
            return Some(Begun {
                id: lead.id,
                cells: lead.cells,
                read: lead.prompt.len(),
            });
        }
        // Its request was cancelled.
        if lead.id != own {
            self.give_back(lead.id);
        }
        None
    }

    /// A sequence and cells for the next answer about a complete hearing. `None` when there is no room now.
    fn follow(&mut self, index: usize) -> Option<Begun> {
        let rows = self.hearings[index].jobs()?.first()?.prompt.len();
        let Some(cells) = self.cells_for(index) else {
            self.give_up_if_hopeless(index, rows);
            return None;
        };
        Some(Begun {
            id: self.sequence_for(index)?,
            cells,
            read: 0,
        })
    }

    /// Cells for the next answer about a hearing.
    fn cells_for(&mut self, index: usize) -> Option<Rc<Block>> {
        let hearing = &mut self.hearings[index];
        if let Some(reserved) = &hearing.reserved {
            return Some(Rc::clone(reserved));
        }
        let job = hearing.jobs()?.first()?;
        let (rows, most) = (job.prompt.len(), job.max_tokens);
        loop {
            match self.reserve(rows, most, Purse::Speech) {
                Ok(cells) => return Some(cells),
                Err(lacking) if self.end_a_borrower(lacking) => {}
                Err(_) => return None,
            }
        }
    }

    /// A sequence for the next answer about a hearing, with the hearing's rows in it. The last answer takes
    /// the hearing's own.
    fn sequence_for(&mut self, index: usize) -> Option<SequenceId> {
        let hearing = &mut self.hearings[index];
        let (own, rows) = (hearing.id, hearing.base.rows);
        if hearing.jobs()?.len() == 1 {
            return Some(own);
        }
        let id = self.sequence()?;
        self.context.share(own, id, rows);
        Some(id)
    }

    /// When there is room for a question.
    fn room_for(&self, waiting: &Waiting) -> Room {
        let is_question = waiting.job().priority == Priority::Question;
        if is_question && self.questions() >= self.parallel {
            return Room::Later;
        }
        let tokens = waiting.first_tokens();
        let mut shared = match self.prefixes.beginning(&tokens) {
            Beginning::Read(shared) => shared,
            Beginning::Unread(id) => return Room::AfterPrefix(id),
        };
        // Sound shares only kept prefixes.
        if let Waiting::Typed(job) = waiting
            && let Some(owner) = &job.owner
            && let Some((id, rows)) = self.pasts.find(owner, &tokens, shared.prefix)
            && rows > shared.rows
        {
            (shared.from, shared.rows) = (id, rows);
        }
        let wanted = Wanted {
            prompt: waiting.rows() - shared.accounted(),
            most: waiting.job().max_tokens,
        };
        if !is_question {
            return match self.reserve(wanted.prompt, wanted.most, Purse::Speech) {
                Ok(cells) => Room::Now(shared, cells),
                Err(lacking) => self
                    .next_borrower(lacking)
                    .map_or(Room::Later, Room::AfterAnswer),
            };
        }
        let (ids, answering): (Vec<_>, Vec<_>) = self.answering().unzip();
        let heard = self.hearings.iter();
        let heard = heard.filter(|it| it.priority == Priority::Question);
        let begun = answering.iter().map(|it| it.first);
        let begun: Vec<_> = begun.chain(heard.map(Hearing::first_cells)).collect();
        match self.cells.admit(wanted, &begun, &answering, self.parallel) {
            Admission::Begin(cells) => match self.cells.take(cells, Purse::Questions) {
                Some(cells) => Room::Now(shared, cells),
                None => Room::Later,
            },
            Admission::End(nth) => Room::AfterAnswer(ids[nth]),
            Admission::Wait => Room::Later,
        }
    }

    fn begin(&mut self, waiting: Waiting, id: SequenceId, shared: Shared, cells: Rc<Block>) {
        self.context.share(shared.from, id, shared.rows);
        match waiting {
            Waiting::Typed(mut job) => {
                let past = job.owner.take().map(|owner| Past {
                    owner,
                    tokens: job.prompt[..job.prompt.len() - 1].to_vec(),
                    prefix: shared.prefix,
                });
                job.prompt.drain(..shared.rows);
                let base = Base {
                    rows: shared.rows,
                    cached: shared.rows,
                    ..Base::default()
                };
                let held = Held {
                    room: cells.size() - (shared.rows - shared.accounted()),
                    shared: shared.cells,
                    own: cells,
                };
                let sequence = Sequence::new(id, job, &base, held);
                self.active.push(sequence.with_past(past));
            }
            Waiting::Recording(recording) => {
                let mut hearing = Hearing::of_recording(id, recording, cells);
                hearing.begin_with(shared.rows, shared.cells);
                self.hearings.push(hearing);
            }
        }
    }

    /// Sets cells aside for `prompt` rows and the first part of an answer of at most `most` tokens.
    ///
    /// # Errors
    /// The number of cells that are lacking for the least it needs.
    fn reserve(&self, prompt: usize, most: usize, purse: Purse) -> Result<Rc<Block>, usize> {
        let free = self.cells.free(purse);
        let share = self.cells.share(self.parallel);
        let room = answer_room(prompt, most, share, free);
        let cells = room.and_then(|room| self.cells.take(prompt + room, purse));
        cells.ok_or_else(|| least(prompt, most).saturating_sub(free))
    }

    /// Fails a complete hearing whose answer finds no cells, if nothing else is under way that could free any.
    fn give_up_if_hopeless(&mut self, index: usize, rows: usize) {
        let hearings = self.hearings.iter();
        let mut closed = hearings.filter(|hearing| hearing.turn().is_none());
        if self.active.is_empty() && closed.all(Hearing::is_complete) {
            self.fail_for_cells(index, rows);
        }
    }

    pub(super) fn fail_for_cells(&mut self, index: usize, rows: usize) {
        let error = EngineError::PromptTooLong {
            rows: self.hearings[index].base.rows + rows,
            capacity: self.context.cells(),
        };
        self.fail_hearing(index, &error);
    }

    /// Questions under way.
    pub(super) fn questions(&self) -> usize {
        let hearings = self.hearings.iter().map(|hearing| hearing.priority);
        let sequences = self.active.iter().map(|sequence| sequence.job.priority);
        let all = hearings.chain(sequences);
        all.filter(|priority| *priority == Priority::Question)
            .count()
    }
}

impl Waiting {
    pub(super) fn job(&self) -> &Job {
        match self {
            Self::Typed(job) => job,
            Self::Recording(recording) => &recording.job,
        }
    }

    /// All rows before the answer.
    fn rows(&self) -> usize {
        match self {
            Self::Typed(job) => job.prompt.len(),
            Self::Recording(recording) => recording.rows(),
        }
    }

    /// The tokens that it may share with others. The last token of a typed one is always computed, for its
    /// logits.
    fn first_tokens(&self) -> Cow<'_, [Token]> {
        match self {
            Self::Typed(job) => Cow::Borrowed(&job.prompt[..job.prompt.len() - 1]),
            Self::Recording(recording) => Cow::Owned(recording.first_tokens()),
        }
    }

    pub(super) fn into_job(self) -> Job {
        match self {
            Self::Typed(job) => job,
            Self::Recording(recording) => recording.job,
        }
    }
}
