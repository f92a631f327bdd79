//! Who computes next: the loop of the engine thread.
//!
//! Every turn of the loop takes in what arrived, drops what nobody waits for, lets begin what fits, and
//! computes one batch. Speech goes first: while a spoken turn has rows to compute, questions keep their
//! cells and wait. Within a class every generating sequence gets its token in each batch, and prompts
//! and sound fill the rest in order of arrival; sound whose speaker has stopped goes before sound that
//! is still growing.
//!
//! | file | owns |
//! |---|---|
//! | here | what arrives; the order in which batches are computed |
//! | `admission` | who begins, and with how many cells |
//! | `prefix` | what many begin with, in the cache |

mod admission;
mod prefix;

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use gemmad_api::{Finish, Health};
use tokio::sync::{oneshot, watch};

use crate::config;
use crate::engine::cells::Cells;
use crate::engine::context::{Context, SequenceId, Shape};
use crate::engine::hearing::{Hearing, Opening, Recording, TurnId};
use crate::engine::model::{Model, Token};
use crate::engine::places::TURNS;
use crate::engine::sampler::Candidates;
use crate::engine::sequence::{Job, Next, Sequence};
use crate::engine::threads::Threads;
use crate::engine::{EngineError, Event, Priority};
use admission::Waiting;
use prefix::{KEPT, Prefixes};

pub use prefix::Kept;

/// Sequences of a spoken turn: one that is open, one that is closed and becomes its transcript, and one
/// for its reply.
const TURN_SEQUENCES: u32 = 3;

/// Most rows of a prompt that are read between two tokens of a reply to speech. On two cores of a desktop 16
/// of E2B's rows take as long as one and a half tokens.
const BESIDE_SPEECH: usize = 16;

/// What reaches the engine thread.
pub(super) enum Work {
    /// Load the configured model; the first word on the channel.
    Load,
    /// A typed question.
    Job(Box<Job>),
    /// A question about finished sound.
    Recording(Box<Recording>),
    /// Somebody begins to speak.
    Listen(Box<Opening>),
    /// They go on.
    Sound { turn: TurnId, samples: Vec<f32> },
    /// They may have ended: answer as if they had.
    Ask { turn: TurnId, jobs: Vec<Job> },
    /// The turn is over, or never was one.
    Close(TurnId),
    /// Keep this prefix instead of the one that is kept for such requests.
    Keep(Kept, Vec<Token>),
    /// Say that you are alive.
    Beat(oneshot::Sender<()>),
    /// End after the batch being computed.
    Stop,
}

/// What the engine is carrying.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Carried {
    /// For everybody; the requests that wait are counted elsewhere.
    pub health: Health,
    /// Questions among the active requests.
    pub questions: u32,
}

/// The state of the engine thread.
pub(super) struct Scheduler {
    model: Arc<Model>,
    context: Context,
    prefixes: Prefixes,
    batch: usize,
    parallel: usize,
    cells: Cells,
    queue: VecDeque<Waiting>,
    hearings: Vec<Hearing>,
    active: Vec<Sequence>,
    free: Vec<SequenceId>,
    candidates: Candidates,
    prompts_had_their_turn: bool,
    finished: u64,
    carried: watch::Sender<Carried>,
}

impl Scheduler {
    /// Makes the KV cache and prefills the system prompt.
    ///
    /// # Errors
    /// When there is no memory for the cache, or the system prompt fills it.
    pub(super) fn new(
        model: &Arc<Model>,
        threads: &Arc<Threads>,
        prefix: Vec<Token>,
        config: &config::Engine,
        carried: watch::Sender<Carried>,
    ) -> Result<Self, EngineError> {
        let waiting = config.parallel.get() + TURNS * TURN_SEQUENCES;
        let trained = model.llama().n_ctx_train();
        if config.context.get() > trained {
            log::warn!("[engine] context is lowered to {trained}, what the model was trained with");
        }
        let shape = Shape {
            cells: config.context.get().min(trained),
            sequences: KEPT.cast_unsigned() + waiting,
            batch: config.batch.get(),
        };
        let context = Context::new(model, threads, shape)?;
        let prefixes = Prefixes::for_answers(prefix);
        let total = context.cells().saturating_sub(prefixes.cells());
        let mut scheduler = Self {
            cells: Cells::new(total),
            context,
            model: Arc::clone(model),
            prefixes,
            batch: config.batch.get() as usize,
            parallel: config.parallel.get() as usize,
            queue: VecDeque::new(),
            hearings: Vec::new(),
            active: Vec::new(),
            // Sequence numbers are small: their count fits where their limit came from.
            free: (KEPT..).take(waiting as usize).collect(),
            candidates: Candidates::new(Vec::new(), false),
            prompts_had_their_turn: false,
            finished: 0,
            carried,
        };
        scheduler.read_prefixes()?;
        scheduler.report();
        Ok(scheduler)
    }

    /// Most cells a question may have, prefix included.
    pub(super) fn capacity(&self) -> usize {
        self.context.cells() - self.kept_for_speech()
    }

    /// Serves until it is told to stop or nobody can ask any more.
    pub(super) fn run(mut self, work: &mpsc::Receiver<Work>) {
        while self.receive(work.try_recv().ok(), work) {
            self.drop_orphans();
            self.admit();
            self.report();
            self.change_prefixes();
            if self.is_idle() {
                if !self.receive(work.recv().ok().or(Some(Work::Stop)), work) {
                    break;
                }
            } else {
                self.step();
                self.report();
            }
        }
        let stopped = || Event::Failed(EngineError::Stopping);
        for sequence in self.active {
            sequence.job.end(stopped());
        }
        for job in self.hearings.iter_mut().filter_map(Hearing::jobs).flatten() {
            let _ = job.events.send(stopped());
        }
        for waiting in self.queue {
            waiting.into_job().end(stopped());
        }
    }

    /// Takes in what arrived, `next` first. False: the end.
    fn receive(&mut self, mut next: Option<Work>, work: &mpsc::Receiver<Work>) -> bool {
        while let Some(arrived) = next {
            match arrived {
                Work::Job(job) => self.queue.push_back(Waiting::Typed(*job)),
                Work::Recording(it) => self.queue.push_back(Waiting::Recording(*it)),
                Work::Listen(opening) => self.listen(*opening),
                Work::Sound { turn, samples } => self.hear(turn, &samples),
                Work::Ask { turn, jobs } => self.ask(turn, jobs),
                Work::Close(turn) => self.close(turn),
                Work::Load => {}
                Work::Keep(kept, prefix) => self.prefixes.replace(kept, prefix),
                // Whoever asked may have given up.
                Work::Beat(beat) => drop(beat.send(())),
                Work::Stop => return false,
            }
            next = work.try_recv().ok();
        }
        true
    }

    /// Whether nothing can be computed until something arrives.
    fn is_idle(&self) -> bool {
        let mut hearings = self.hearings.iter();
        self.active.is_empty()
            && !self.prefixes.is_unread()
            && hearings.all(|hearing| hearing.turn().is_some() && hearing.upcoming(self.batch) == 0)
    }

    fn listen(&mut self, opening: Opening) {
        let Some(id) = self.sequence() else {
            // Places leave a sequence for every turn, so this is a turn too many of our own.
            log::error!("no sequence is free for a spoken turn");
            return;
        };
        let shared = self.prefixes.shared_with(&opening.spans.first_tokens());
        self.context.share(shared.from, id, shared.rows);
        self.hearings.push(Hearing::open(id, opening, shared.rows));
    }

    fn hear(&mut self, turn: TurnId, samples: &[f32]) {
        if let Some(hearing) = self.hearing_of(turn) {
            self.hearings[hearing].push(samples);
        }
    }

    /// Closes a fork of the turn, which is then computed to its end and answered.
    fn ask(&mut self, turn: TurnId, jobs: Vec<Job>) {
        let fail = |jobs: Vec<Job>, error: &EngineError| {
            for job in jobs {
                job.fail(error.clone());
            }
        };
        let Some(id) = self.sequence() else {
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

    fn close(&mut self, turn: TurnId) {
        if let Some(index) = self.hearing_of(turn) {
            self.forget(index);
        }
    }

    /// The open hearing of a turn.
    fn hearing_of(&self, turn: TurnId) -> Option<usize> {
        let mut hearings = self.hearings.iter();
        hearings.position(|hearing| hearing.turn() == Some(turn))
    }

    /// A free sequence, if need be one that nobody waits for any more.
    fn sequence(&mut self) -> Option<SequenceId> {
        if self.free.is_empty() {
            self.drop_orphans();
        }
        self.free.pop()
    }

    fn drop_orphans(&mut self) {
        let waiting = self.queue.len();
        self.queue.retain(|waiting| !waiting.job().is_orphan());
        self.finished += (waiting - self.queue.len()) as u64;
        while let Some(index) = self.active.iter().position(|s| s.job.is_orphan()) {
            let sequence = self.release(index);
            log::info!(request = sequence.job.id; "cancelled");
        }
        for index in (0..self.hearings.len()).rev() {
            let Some(jobs) = self.hearings[index].jobs() else {
                continue;
            };
            let asked = jobs.len();
            jobs.retain(|job| !job.is_orphan());
            let (left, gone) = (jobs.len(), asked - jobs.len());
            self.finished += gone as u64;
            if left == 0 {
                self.forget(index);
            }
        }
    }

    /// Computes one batch for the most urgent class.
    ///
    /// Rows that want logits and rows that do not never share a batch, because one that wants them
    /// makes all of them dear (`kv_only`); they take turns. On two cores of a desktop, 9 of E2B's rows
    /// take 95 ms without logits and one takes 130 ms with; in one batch they take 370 ms.
    fn step(&mut self) {
        let heard = self.next_hearing();
        let hearing = heard.map(|index| self.hearings[index].priority);
        let sequences = self.active.iter().map(|sequence| sequence.job.priority);
        let Some(priority) = sequences.chain(hearing).min() else {
            return self.step_prefix();
        };
        let heard = heard.filter(|index| self.hearings[*index].priority == priority);
        let (generating, reading) = self.generating_and_reading(|it| it == priority);
        let prompts = heard.is_some() || !reading.is_empty();
        self.prompts_had_their_turn =
            prompts && (generating.is_empty() || !self.prompts_had_their_turn);
        match heard {
            _ if !self.prompts_had_their_turn => self.step_tokens(&generating, self.batch),
            Some(index) => self.step_hearing(index),
            None => self.step_prompts(priority, &reading, generating.is_empty()),
        }
    }

    /// The sequences of some priorities: those whose next token is to be drawn, and those that read
    /// their prompts.
    fn generating_and_reading(&self, of: impl Fn(Priority) -> bool) -> (Vec<usize>, Vec<usize>) {
        let chosen = (0..self.active.len()).filter(|index| of(self.active[*index].job.priority));
        chosen.partition(|index| matches!(self.active[*index].next(), Next::Token(_)))
    }

    /// The hearing whose rows are computed next: of the most urgent class, and if somebody waits for an
    /// answer to it before one that still grows.
    fn next_hearing(&self) -> Option<usize> {
        let hearings = self.hearings.iter().enumerate();
        let ready = hearings.filter(|(_, hearing)| hearing.upcoming(self.batch) > 0);
        let first = ready.min_by_key(|(_, it)| (it.priority, it.turn().is_some()));
        first.map(|(index, _)| index)
    }

    fn step_hearing(&mut self, index: usize) {
        let hearing = &mut self.hearings[index];
        if hearing.reserved.is_none() {
            let rows = hearing.upcoming(self.batch);
            match self.cells.take(rows) {
                Some(block) => hearing.cells.push(block),
                None => return self.wait_for_cells(index, rows),
            }
        }
        if self.hearings[index].is_ending(self.batch) {
            self.begin_first(index);
        }
        if let Err(error) = self.hearings[index].feed(&mut self.context, self.batch) {
            self.fail_hearing(index, &error);
        }
    }

    /// Speech that finds no free cells: whoever is answering goes on, and gives some back.
    fn wait_for_cells(&mut self, index: usize, rows: usize) {
        if self.active.is_empty() {
            return self.fail_for_cells(index, rows);
        }
        let (generating, reading) = self.generating_and_reading(|_| true);
        let next = if reading.is_empty() {
            &generating
        } else {
            &reading
        };
        self.step_tokens(next, self.batch);
    }

    fn fail_hearing(&mut self, index: usize, error: &EngineError) {
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
    fn forget(&mut self, index: usize) {
        let hearing = self.hearings.remove(index);
        if let Some(lead) = hearing.lead.filter(|lead| lead.id != hearing.id) {
            self.give_back(lead.id);
        }
        self.give_back(hearing.id);
    }

    fn give_back(&mut self, id: SequenceId) {
        self.context.forget(id);
        self.free.push(id);
    }

    /// Computes rows of prompts that are being read. Questions share a batch, because that is quicker
    /// for all of them. After speech one prompt is read at a time, the reply's first, and little of it
    /// while the reply is being generated: somebody is waiting for the next word.
    fn step_prompts(&mut self, priority: Priority, reading: &[usize], alone: bool) {
        let most = if alone {
            self.batch
        } else {
            self.batch.min(BESIDE_SPEECH)
        };
        match (priority, reading) {
            (Priority::Speech, [first, ..]) => self.step_tokens(&[*first], most),
            _ => self.step_tokens(reading, self.batch),
        }
    }

    /// Computes a batch of at most `most` rows for these sequences, which are all generating or all
    /// reading.
    fn step_tokens(&mut self, sequences: &[usize], most: usize) {
        let started = Instant::now();
        let mut rows = Vec::new();
        let mut parts = Vec::new();
        for index in sequences.iter().copied() {
            let part = self.active[index].token_rows(most - rows.len());
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
        let drawn = self.context.logits(row).and_then(|logits| {
            self.active[index].sample(&self.model, logits, &mut self.candidates)
        });
        drawn.transpose()
    }

    fn fail(&mut self, index: usize, error: EngineError) {
        self.release(index).job.fail(error);
    }

    /// Takes a sequence out and gives its cells back.
    fn release(&mut self, index: usize) -> Sequence {
        let sequence = self.active.remove(index);
        self.give_back(sequence.id);
        self.finished += 1;
        sequence
    }

    /// Publishes what the engine is carrying, if that changed.
    fn report(&self) {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let turns = || self.hearings.iter().filter(|it| it.turn().is_some());
        let closed = self.hearings.len() - turns().count();
        let backlog = turns().map(Hearing::backlog).sum::<Duration>().as_millis();
        let health = Health {
            active: number(self.active.len() + closed),
            queued: 0,
            turns: number(turns().count()),
            backlog_ms: u32::try_from(backlog).unwrap_or(u32::MAX),
            cells_used: number(self.prefixes.cells() + self.cells.taken()),
            cells_total: number(self.context.cells()),
            prefix_cells: number(self.prefixes.cells()),
            finished: self.finished,
        };
        let carried = Carried {
            health,
            questions: number(self.questions()),
        };
        self.carried.send_if_modified(|published| {
            let changed = *published != carried;
            *published = carried;
            changed
        });
    }
}
