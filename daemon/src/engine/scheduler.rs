//! Who computes next: the loop of the engine thread.
//!
//! Every turn of the loop takes in what arrived, drops what nobody waits for, admits what fits, and
//! computes one batch (or encodes one clip). Speech goes first: while a spoken request is under way,
//! questions keep their cells and wait. Within a class every generating sequence gets its token in
//! each batch, and prompts fill the rest of it in order of arrival.
//!
//! Cells are set aside when a request is admitted, for its prompt and its longest answer, so a
//! request under way never runs out. A quarter of the cells is kept from questions, so that speech
//! finds room.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use gemmad_api::{Finish, Health};
use tokio::sync::watch;

use super::audio::Encoder;
use super::context::{Context, Row, SequenceId, Shape};
use super::model::{Model, Token};
use super::places::SPEECH_SEQUENCES;
use super::sampler::Candidates;
use super::sequence::{Job, Next, Sequence};
use super::{Capacity, EngineError, Event, Priority};
use crate::config;

/// The sequence that holds the system prompt.
const PREFIX: SequenceId = 0;

/// Fewest tokens of answer a request is admitted with when cells are short.
const LEAST_ANSWER: usize = 64;

/// What reaches the engine thread.
pub(super) enum Work {
    /// Load the configured model; the first word on the channel.
    Load,
    /// A request.
    Job(Box<Job>),
    /// End after the batch being computed.
    Stop,
}

/// The state of the engine thread.
pub(super) struct Scheduler {
    model: Arc<Model>,
    context: Context,
    encoder: Option<Encoder>,
    prefix: Vec<Token>,
    batch: usize,
    parallel: usize,
    queue: VecDeque<Job>,
    active: Vec<Sequence>,
    free: Vec<SequenceId>,
    candidates: Candidates,
    prompts_had_their_turn: bool,
    finished: u64,
    health: watch::Sender<Health>,
}

impl Scheduler {
    /// Makes the KV cache and prefills the system prompt.
    ///
    /// # Errors
    /// When there is no memory for the cache, or the system prompt fills it.
    pub(super) fn new(
        model: &Arc<Model>,
        prefix: Vec<Token>,
        config: &config::Engine,
        threads: i32,
        health: watch::Sender<Health>,
    ) -> Result<Self, EngineError> {
        let sequences = 1 + config.parallel.get() + SPEECH_SEQUENCES;
        let trained = model.llama().n_ctx_train();
        if config.context.get() > trained {
            log::warn!("[engine] context is lowered to {trained}, what the model was trained with");
        }
        let shape = Shape {
            cells: config.context.get().min(trained),
            sequences,
            batch: config.batch.get(),
            threads,
        };
        let mut scheduler = Self {
            context: Context::new(model, shape)?,
            encoder: Encoder::new(model),
            model: Arc::clone(model),
            prefix,
            batch: config.batch.get() as usize,
            parallel: config.parallel.get() as usize,
            queue: VecDeque::new(),
            active: Vec::new(),
            // Sequence numbers are small: their count fits where their limit came from.
            free: (PREFIX + 1..).take(sequences as usize - 1).collect(),
            candidates: Candidates::new(Vec::new(), false),
            prompts_had_their_turn: false,
            finished: 0,
            health,
        };
        scheduler.prefill_prefix()?;
        scheduler.report();
        Ok(scheduler)
    }

    /// Most cells a request may have, prefix included.
    pub(super) fn capacity(&self) -> Capacity {
        let speech = self.context.cells();
        Capacity {
            speech,
            question: speech - self.kept_for_speech(),
        }
    }

    /// Serves until it is told to stop or nobody can ask any more.
    pub(super) fn run(mut self, work: &mpsc::Receiver<Work>) {
        while self.receive(work) {
            self.drop_orphans();
            self.admit();
            self.report();
            self.step();
            self.report();
        }
        let under_way = self.active.into_iter().map(|sequence| sequence.job);
        for job in under_way.chain(self.queue) {
            job.end(Event::Failed(EngineError::Stopping));
        }
    }

    fn prefill_prefix(&mut self) -> Result<(), EngineError> {
        let (rows, capacity) = (self.prefix.len(), self.capacity().question);
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        let rows: Vec<_> = (0..)
            .zip(&self.prefix)
            .map(|(position, token)| Row {
                token: *token,
                position,
                sequence: PREFIX,
                logits: false,
            })
            .collect();
        rows.chunks(self.batch)
            .try_for_each(|rows| self.context.decode_tokens(rows))
    }

    /// Takes in what arrived; waits only when there is nothing to do. False: the end.
    fn receive(&mut self, work: &mpsc::Receiver<Work>) -> bool {
        let mut next = if self.active.is_empty() && self.queue.is_empty() {
            work.recv().ok().or(Some(Work::Stop))
        } else {
            work.try_recv().ok()
        };
        while let Some(arrived) = next {
            match arrived {
                Work::Job(job) => self.queue.push_back(*job),
                Work::Load => {}
                Work::Stop => return false,
            }
            next = work.try_recv().ok();
        }
        true
    }

    fn drop_orphans(&mut self) {
        let waiting = self.queue.len();
        self.queue.retain(|job| !job.is_orphan());
        self.finished += (waiting - self.queue.len()) as u64;
        while let Some(index) = self.active.iter().position(|s| s.job.is_orphan()) {
            let sequence = self.release(index);
            log::info!(request = sequence.job.id; "cancelled");
        }
    }

    /// Moves waiting requests into the KV cache: speech first, each class in order of arrival.
    fn admit(&mut self) {
        for priority in [Priority::Speech, Priority::Question] {
            while let Some(index) = self.queue.iter().position(|job| job.priority == priority) {
                let Some(reserved) = self.room_for(&self.queue[index]) else {
                    break;
                };
                let Some(id) = self.free.pop() else { break };
                // The index was just found.
                let Some(job) = self.queue.remove(index) else {
                    break;
                };
                let shared = job.prompt.shared_rows(&self.prefix);
                self.context.share(PREFIX, id, shared);
                self.active.push(Sequence::new(id, job, shared, reserved));
            }
        }
    }

    /// The cells to set aside for `job`, if it can start now. With few cells left a long answer is
    /// cut down rather than kept waiting.
    fn room_for(&self, job: &Job) -> Option<usize> {
        let same_class = self.of(job.priority).count();
        let (most, kept) = match job.priority {
            Priority::Speech => (SPEECH_SEQUENCES as usize, 0),
            Priority::Question => (self.parallel, self.kept_for_speech()),
        };
        let taken: usize = self.active.iter().map(|sequence| sequence.reserved).sum();
        let free = self
            .context
            .cells()
            .checked_sub(self.prefix.len() + taken + kept)?;
        let prompt = job.prompt.rows() - job.prompt.shared_rows(&self.prefix);
        let answer = free.checked_sub(prompt)?.min(job.max_tokens);
        (same_class < most && answer >= job.max_tokens.min(LEAST_ANSWER)).then_some(prompt + answer)
    }

    fn kept_for_speech(&self) -> usize {
        match self.encoder {
            Some(_) => self.context.cells() / 4,
            None => 0,
        }
    }

    fn of(&self, priority: Priority) -> impl Iterator<Item = usize> + '_ {
        let sequences = self.active.iter().enumerate();
        sequences
            .filter(move |(_, sequence)| sequence.job.priority == priority)
            .map(|(index, _)| index)
    }

    /// Computes one batch, or encodes one clip, for the most urgent class.
    ///
    /// Rows that want logits and rows that do not never share a batch, because one that wants them
    /// makes all of them dear (`kv_only`); they take turns.
    fn step(&mut self) {
        let Some(priority) = self.active.iter().map(|s| s.job.priority).min() else {
            return;
        };
        let class: Vec<_> = self.of(priority).collect();
        let (generating, reading): (Vec<usize>, Vec<usize>) = class
            .iter()
            .partition(|index| matches!(self.active[**index].next(), Next::Token(_)));
        let first = reading.first().copied();
        match first {
            Some(first) if generating.is_empty() || !self.prompts_had_their_turn => {
                self.prompts_had_their_turn = true;
                if matches!(self.active[first].next(), Next::Sound(..)) {
                    self.step_sound(first);
                } else {
                    self.step_tokens(&reading);
                }
            }
            _ => {
                self.prompts_had_their_turn = false;
                self.step_tokens(&generating);
            }
        }
    }

    fn step_sound(&mut self, index: usize) {
        let started = Instant::now();
        let Next::Sound(clip, done) = self.active[index].next() else {
            return;
        };
        let clip = Arc::clone(clip);
        let Some(soft_tokens) = clip.soft_tokens() else {
            let encoded = match &mut self.encoder {
                Some(encoder) => clip.encode(encoder),
                None => Err(EngineError::Deaf("it has no audio encoder".into())),
            };
            match encoded {
                Ok(()) => self.active[index].encoded(started.elapsed()),
                Err(error) => self.fail(index, error),
            }
            return;
        };
        let sequence = &self.active[index];
        let width = self.context.width();
        let rows = (soft_tokens.len() / width - done).min(self.batch);
        let position = i32::try_from(sequence.rows).unwrap_or(i32::MAX);
        let piece = &soft_tokens[done * width..(done + rows) * width];
        match self
            .context
            .decode_soft_tokens(piece, position, sequence.id)
        {
            Ok(()) => self.active[index].advance(rows, started.elapsed()),
            Err(error) => self.fail(index, error),
        }
    }

    fn step_tokens(&mut self, sequences: &[usize]) {
        let started = Instant::now();
        let mut rows = Vec::new();
        let mut parts = Vec::new();
        for index in sequences.iter().copied() {
            let part = self.active[index].token_rows(self.batch - rows.len());
            if !part.is_empty() {
                parts.push((index, part.len()));
                rows.extend(part);
            }
        }
        if let Err(error) = self.context.decode_tokens(&rows) {
            // From the last, because failing one moves those after it.
            for (index, _) in parts.into_iter().rev() {
                self.fail(index, error.clone());
            }
            return;
        }
        let time = started.elapsed();
        let mut end = 0;
        let mut ended = Vec::new();
        for (index, count) in parts {
            end += count;
            self.active[index].advance(count, time);
            if rows[end - 1].logits
                && let Some(finish) = self.sample(index, end - 1)
            {
                ended.push((index, finish));
            }
        }
        for (index, finish) in ended.into_iter().rev() {
            match finish {
                Ok(finish) => self.release(index).finish(finish),
                Err(error) => self.fail(index, error),
            }
        }
    }

    /// Draws the token after batch row `row` for a sequence; how it ended, if it did.
    fn sample(&mut self, index: usize, row: usize) -> Option<Result<Finish, EngineError>> {
        match self.context.logits(row) {
            Ok(logits) => self.active[index]
                .sample(&self.model, logits, &mut self.candidates)
                .map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    fn fail(&mut self, index: usize, error: EngineError) {
        self.release(index).fail(error);
    }

    /// Takes a sequence out and gives its cells back.
    fn release(&mut self, index: usize) -> Sequence {
        let sequence = self.active.remove(index);
        self.context.forget(sequence.id);
        self.free.push(sequence.id);
        self.finished += 1;
        sequence
    }

    /// Publishes what the engine is carrying, if that changed.
    fn report(&self) {
        let cells = |cells: usize| u32::try_from(cells).unwrap_or(u32::MAX);
        let own: usize = self.active.iter().map(|s| s.rows - s.shared).sum();
        let health = Health {
            active: cells(self.active.len()),
            queued: cells(self.queue.len()),
            cells_used: cells(self.prefix.len() + own),
            cells_total: cells(self.context.cells()),
            prefix_cells: cells(self.prefix.len()),
            finished: self.finished,
        };
        self.health.send_if_modified(|published| {
            let changed = *published != health;
            *published = health;
            changed
        });
    }
}
