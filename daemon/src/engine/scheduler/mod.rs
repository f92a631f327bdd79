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
//! | `sound` | turns that are spoken, and their rows |
//! | `admission` | who begins, and with how many cells |
//! | `lending` | who gets more cells, and who ends for that |
//! | `prefix` | what many begin with, in the cache |

mod admission;
mod lending;
mod prefix;
mod sound;

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
use crate::engine::{EngineError, Priority};
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
    /// Keep these tokens instead of the prefix that is kept for such requests. Changes are numbered.
    Keep {
        kept: Kept,
        change: u64,
        tokens: Vec<Token>,
    },
    /// Say that you are alive.
    Beat(oneshot::Sender<()>),
    /// End after the batch being computed.
    Stop,
}

impl Work {
    /// The requests in it.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        match self {
            Self::Job(job) => vec![*job],
            Self::Recording(recording) => vec![recording.job],
            Self::Ask { jobs, .. } => jobs,
            _ => Vec::new(),
        }
    }
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
    /// The prefix that the first question in the queue waits for.
    wanted: Option<SequenceId>,
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
        let for_speech = match model.encoder() {
            Some(_) => context.cells() / 4,
            None => 0,
        };
        let cells = Cells::new(context.cells(), for_speech);
        let mut scheduler = Self {
            prefixes: Prefixes::for_answers(prefix, &cells),
            cells,
            context,
            model: Arc::clone(model),
            batch: config.batch.get() as usize,
            parallel: config.parallel.get() as usize,
            queue: VecDeque::new(),
            hearings: Vec::new(),
            active: Vec::new(),
            // Sequence numbers are small: their count fits where their limit came from.
            free: (KEPT..).take(waiting as usize).collect(),
            wanted: None,
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
        self.cells.beside_speech()
    }

    /// Serves until it is told to stop or nobody can ask any more.
    pub(super) fn run(mut self, work: &mpsc::Receiver<Work>) {
        while self.receive(work.try_recv().ok(), work) {
            self.drop_orphans();
            self.change_prefixes();
            self.admit();
            self.report();
            if self.is_idle() {
                if !self.receive(work.recv().ok().or(Some(Work::Stop)), work) {
                    break;
                }
            } else {
                self.step();
                self.report();
            }
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
                Work::Keep {
                    kept,
                    change,
                    tokens,
                } => self.prefixes.replace(kept, change, tokens),
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
        self.lend();
        let heard = self.next_hearing();
        let hearing = heard.map(|index| self.hearings[index].priority);
        let wanted = self.wanted.map(|_| Priority::Question);
        let sequences = self.active.iter().map(|sequence| sequence.job.priority);
        let Some(priority) = sequences.chain(hearing).chain(wanted).min() else {
            if let Some(id) = self.prefixes.first_unread() {
                self.step_prefix(id);
            }
            return;
        };
        let heard = heard.filter(|index| self.hearings[*index].priority == priority);
        let wanted = self.wanted.filter(|_| priority == Priority::Question);
        let (generating, reading) = self.generating_and_reading(|it| it == priority);
        let prompts = heard.is_some() || !reading.is_empty() || wanted.is_some();
        self.prompts_had_their_turn =
            prompts && (generating.is_empty() || !self.prompts_had_their_turn);
        match (heard, wanted) {
            _ if !self.prompts_had_their_turn => self.step_generating(&generating),
            (Some(index), _) => self.step_hearing(index),
            (None, Some(id)) if reading.is_empty() => self.step_prefix(id),
            _ => self.step_prompts(priority, &reading, generating.is_empty()),
        }
    }

    /// The sequences of some priorities: those whose next token is to be drawn, and those that read
    /// their prompts.
    fn generating_and_reading(&self, of: impl Fn(Priority) -> bool) -> (Vec<usize>, Vec<usize>) {
        let chosen = (0..self.active.len()).filter(|index| of(self.active[*index].job.priority));
        chosen.partition(|index| matches!(self.active[*index].next(), Next::Token(_)))
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

    /// Computes the next token of each of these sequences, however small a batch is configured.
    fn step_generating(&mut self, generating: &[usize]) {
        self.step_tokens(generating, generating.len());
    }

    /// Computes a batch of at most `most` rows for these sequences, which are all generating or all
    /// reading.
    fn step_tokens(&mut self, sequences: &[usize], most: usize) {
        let started = Instant::now();
        let mut rows = Vec::new();
        let mut parts = Vec::new();
        for index in sequences.iter().copied() {
            let budget = most.saturating_sub(rows.len());
            let part = self.active[index].token_rows(budget);
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
            cells_used: number(self.cells.taken()),
            cells_total: number(self.cells.total()),
            prefix_cells: number(self.cells.prefixes()),
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
