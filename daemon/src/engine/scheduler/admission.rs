//! Who begins: questions and answers to what was spoken get a sequence and their cells here.
//!
//! What a question needs is set aside when it begins, for its prompt and its longest answer, so it never
//! runs out under way. How long a person will speak nobody knows: a spoken turn takes cells as it
//! grows, from a quarter that is kept from questions.

use std::rc::Rc;

use super::Scheduler;
use super::prefix::Shared;
use crate::engine::cells::Block;
use crate::engine::context::SequenceId;
use crate::engine::hearing::{Hearing, Lead, Recording};
use crate::engine::sequence::{Base, Job, Sequence};
use crate::engine::{EngineError, Priority};

/// Fewest tokens of answer a request begins with when cells are short.
const LEAST_ANSWER: usize = 64;

/// A question that waits for cells and a sequence.
pub(super) enum Waiting {
    Typed(Job),
    Recording(Recording),
}

/// Room for a question.
struct Room {
    /// What of its prompt is in the KV cache already.
    shared: Shared,
    /// Cells for the rest and the answer.
    cells: Rc<Block>,
    /// Most tokens of the answer.
    answer: usize,
}

/// A sequence with what an answer needs.
struct Begun {
    id: SequenceId,
    cells: Rc<Block>,
    /// Most tokens of the answer.
    answer: usize,
    /// Tokens of its prompt that are in the KV cache.
    read: usize,
}

impl Scheduler {
    /// Lets begin what there is room for: answers to what was spoken first, then questions in order of
    /// arrival.
    pub(super) fn admit(&mut self) {
        for index in (0..self.hearings.len()).rev() {
            if self.hearings[index].is_complete() {
                self.begin_answers(index);
            }
        }
        while let Some(room) = self.queue.front().and_then(|first| self.room_for(first))
            && let Some(id) = self.sequence()
            && let Some(waiting) = self.queue.pop_front()
        {
            self.begin(waiting, id, room);
        }
        self.refuse_hopeless();
    }

    /// Fails the first question if there is no room for it although nobody has any.
    fn refuse_hopeless(&mut self) {
        let is_empty = self.active.is_empty() && self.hearings.is_empty();
        if let Some(first) = self.queue.front().filter(|_| is_empty)
            && self.room_for(first).is_none()
            && let Some(waiting) = self.queue.pop_front()
        {
            self.finished += 1;
            let error = EngineError::PromptTooLong {
                rows: waiting.rows(),
                capacity: self.capacity() - self.prefixes.cells(),
            };
            waiting.into_job().fail(error);
        }
    }

    /// Lets the first answer to a hearing begin with its last rows, if there is room: what closes the turn
    /// goes into the batch with them.
    pub(super) fn begin_first(&mut self, index: usize) {
        let Some([job, ..]) = self.hearings[index].jobs().map(|jobs| jobs.as_slice()) else {
            return;
        };
        // A prompt has at least the token that opens the model's turn.
        let prompt = job.prompt[..job.prompt.len() - 1].to_vec();
        let request = job.id;
        if let Some((cells, answer)) = self.cells_for(index)
            && let Some(id) = self.sequence_for(index)
        {
            self.hearings[index].lead = Some(Lead {
                request,
                id,
                cells,
                answer,
                prompt,
                is_read: false,
            });
        }
    }

    /// Begins the answers about a complete hearing, in order, as far as there is room. The last one
    /// takes its sequence over.
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
            let mut held = hearing.cells.clone();
            held.push(begun.cells);
            // There is at least one, as was just seen.
            let Some(job) = hearing.jobs().map(|jobs| jobs.remove(0)) else {
                return;
            };
            let job = Job {
                max_tokens: begun.answer,
                ..job
            };
            let sequence = Sequence::new(begun.id, job, &base, held);
            self.active.push(sequence.having_read(begun.read));
            if is_last {
                self.hearings.remove(index);
                return;
            }
        }
    }

    /// The answer that began with the last rows, if it is this one.
    fn lead_of(&mut self, index: usize, request: u64) -> Option<Begun> {
        let hearing = &mut self.hearings[index];
        let (own, lead) = (hearing.id, hearing.lead.take()?);
        if lead.is_read && lead.request == request {
            return Some(Begun {
                id: lead.id,
                cells: lead.cells,
                answer: lead.answer,
                read: lead.prompt.len(),
            });
        }
        // Nobody waits for it any more.
        if lead.id != own {
            self.give_back(lead.id);
        }
        None
    }

    /// A sequence and cells for the next answer about a complete hearing. `None` when there is no room now.
    fn follow(&mut self, index: usize) -> Option<Begun> {
        let rows = self.hearings[index].jobs()?.first()?.prompt.len();
        let Some((cells, answer)) = self.cells_for(index) else {
            self.give_up_if_hopeless(index, rows);
            return None;
        };
        Some(Begun {
            id: self.sequence_for(index)?,
            cells,
            answer,
            read: 0,
        })
    }

    /// Cells for the next answer about a hearing, and most tokens it may have.
    fn cells_for(&mut self, index: usize) -> Option<(Rc<Block>, usize)> {
        let hearing = &mut self.hearings[index];
        let reserved = hearing.reserved.clone();
        let job = hearing.jobs()?.first()?;
        let (rows, most) = (job.prompt.len(), job.max_tokens);
        match reserved {
            Some(block) => Some((block, most)),
            None => self.reserve(rows, most, 0),
        }
    }

    /// A sequence for the next answer about a hearing, with what was heard in it. The last answer takes
    /// the hearing's own.
    fn sequence_for(&mut self, index: usize) -> Option<SequenceId> {
        let hearing = &mut self.hearings[index];
        let (own, rows) = (hearing.id, hearing.base.rows);
        if hearing.jobs()?.len() == 1 {
            return Some(own);
        }
        let id = self.free.pop()?;
        self.context.share(own, id, rows);
        Some(id)
    }

    /// The room for a question, if there is room for it now.
    fn room_for(&self, waiting: &Waiting) -> Option<Room> {
        if self.questions() >= self.parallel {
            return None;
        }
        let most = waiting.job().max_tokens;
        let rows = waiting.rows();
        let shared = match waiting {
            // The last token is always computed, for its logits.
            Waiting::Typed(job) => self.prefixes.shared_with(&job.prompt[..rows - 1]),
            Waiting::Recording(it) => self.prefixes.shared_with(&it.first_tokens()),
        };
        let kept = self.kept_for_speech();
        let (cells, answer) = self.reserve(rows - shared.rows, most, kept)?;
        Some(Room {
            shared,
            cells,
            answer,
        })
    }

    fn begin(&mut self, waiting: Waiting, id: SequenceId, room: Room) {
        let Room {
            shared,
            cells,
            answer,
        } = room;
        self.context.share(shared.from, id, shared.rows);
        let shared = shared.rows;
        match waiting {
            Waiting::Typed(mut job) => {
                job.max_tokens = answer;
                job.prompt.drain(..shared);
                let base = Base {
                    rows: shared,
                    cached: shared,
                    ..Base::default()
                };
                self.active.push(Sequence::new(id, job, &base, vec![cells]));
            }
            Waiting::Recording(mut recording) => {
                recording.job.max_tokens = answer;
                let hearing = Hearing::of_recording(id, recording, shared, cells);
                self.hearings.push(hearing);
            }
        }
    }

    /// Sets cells aside for `prompt` rows and an answer of at most `most` tokens, and says how long it
    /// may be: with few cells left it is cut down rather than kept waiting. `kept` cells stay free.
    fn reserve(&self, prompt: usize, most: usize, kept: usize) -> Option<(Rc<Block>, usize)> {
        let free = self.cells.free().checked_sub(kept + prompt)?;
        let answer = free.min(most);
        if answer < most.min(LEAST_ANSWER) {
            return None;
        }
        let block = self.cells.take(prompt + answer)?;
        Some((block, answer))
    }

    /// Fails a complete hearing whose answer finds no cells when nobody is left to give any back.
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

    pub(super) fn kept_for_speech(&self) -> usize {
        match self.model.encoder() {
            Some(_) => self.context.cells() / 4,
            None => 0,
        }
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

    pub(super) fn into_job(self) -> Job {
        match self {
            Self::Typed(job) => job,
            Self::Recording(recording) => recording.job,
        }
    }
}
