//! The scheduler: the loop of the engine thread.
//!
//! Every pass of the loop takes in new work, drops cancelled requests, begins those that fit, and computes
//! one batch, whose turn it is ([`super::order`]). Sound that has ended goes before sound that is still growing.
//!
//! | file | owns |
//! |---|---|
//! | here | new work, and the batches |
//! | `sound` | turns that are spoken, and their rows |
//! | `admission` | which requests begin, and with how many cells |
//! | `lending` | which answers get more cells, and which end for that |
//! | `long`, `longs` | questions that do not fit into the cells, in contexts of their own |
//! | `prefix`, `prefixes` | prefixes of many requests, in the cache |
//! | `past` | prompts of answers that have ended, in the cache |

mod admission;
mod lending;
mod long;
mod longs;
mod past;
mod prefix;
mod prefixes;
mod sound;
mod waiting;

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::cells::Cells;
use super::hearing::{Hearing, Opening, Recording, TurnId};
use super::order::{Batch, Demand, Order};
use super::places::TURNS;
use super::sampler::Candidates;
use super::sequence::{Job, Next, Sequence};
use crate::config::{self, LongCache};
use crate::engine::ggml::threads::Threads;
use crate::engine::llama::context::{Context, Shape};
use crate::engine::llama::mixed::SequenceId;
use crate::engine::llama::model::{Model, Token};
use crate::engine::memory::Fit;
use crate::engine::{EngineError, Finish, Health, Priority};
use longs::Longs;
use past::Pasts;
use prefixes::{KEPT, Prefixes};
use waiting::Waiting;

pub(in crate::engine) use past::Past;
pub use prefixes::Kept;

/// Sequences of a spoken turn: one for the open hearing, one for its closed fork, which becomes the
/// transcript, and one for the reply.
const TURN_SEQUENCES: u32 = 3;

/// Sequences for prompts of answers that have ended, beside those that are free anyway.
const PAST_SEQUENCES: u32 = 8;

/// Maximum rows of a prompt that are read between two tokens of a reply to speech. On two cores of a desktop, 16
/// rows of E2B take as long as one and a half tokens.
const BESIDE_SPEECH: usize = 16;

/// Messages to the engine thread.
pub(in crate::engine) enum Work {
    /// What is to become of the model. The first message on the channel is one.
    Fate(Fate),
    /// A lease of the model has ended.
    Released,
    /// Memory is scarce from now on, or is not any more.
    Scarce(bool),
    /// A typed question.
    Job(Box<Job>),
    /// A question about finished sound.
    Recording(Box<Recording>),
    /// A spoken turn begins.
    Listen(Box<Opening>),
    /// More sound of a turn.
    Sound { turn: TurnId, samples: Vec<f32> },
    /// Questions about a turn, as if it ended here.
    Ask { turn: TurnId, jobs: Vec<Job> },
    /// A turn is over, or was a false alarm.
    Close(TurnId),
    /// Keep these tokens as the prefix for requests of this kind. Changes are numbered; the last counts.
    Keep {
        kept: Kept,
        change: u64,
        tokens: Vec<Token>,
    },
    /// Give a sign of life.
    Beat(oneshot::Sender<()>),
    /// End. The stop flag ends the batch being computed.
    Stop,
}

/// What is to become of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Fate {
    /// It is loaded, unless it is there.
    Load,
    /// It goes, and the one that the configuration names by then is loaded.
    Reload,
    /// It goes, and its memory is given back.
    Unload,
    /// It stays, but its KV cache is made anew, with so many cells.
    Resize(u32),
}

impl Work {
    /// The requests in it.
    pub(in crate::engine) fn into_jobs(self) -> Vec<Job> {
        match self {
            Self::Job(job) => vec![*job],
            Self::Recording(recording) => vec![recording.job],
            Self::Ask { jobs, .. } => jobs,
            _ => Vec::new(),
        }
    }
}

/// The engine's load, as the scheduler publishes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::engine) struct Carried {
    /// For clients. Waiting requests are counted elsewhere (`places`).
    pub health: Health,
    /// Questions among the active requests.
    pub questions: u32,
}

/// The state of the engine thread.
pub(in crate::engine) struct Scheduler {
    model: Arc<Model>,
    context: Context,
    prefixes: Prefixes,
    pasts: Pasts,
    batch: usize,
    parallel: usize,
    cells: Cells,
    queue: VecDeque<Waiting>,
    hearings: Vec<Hearing>,
    active: Vec<Sequence>,
    free: Vec<SequenceId>,
    longs: Longs,
    /// How the model was made to fit.
    fit: Fit,
    long_cache: LongCache,
    threads: Arc<Threads>,
    /// The prefix that the first in the queue waits for, and its class.
    wanted: Option<(SequenceId, Priority)>,
    candidates: Candidates,
    order: Order,
    finished: u64,
    carried: watch::Sender<Carried>,
    /// Shared by the leases of the model, until it goes.
    stay: Option<Arc<()>>,
    /// What the model has to go for.
    fate: Option<Fate>,
    /// Time without work after which the model goes; `None`: it stays.
    patience: Option<Duration>,
    /// When there last was work.
    used: Instant,
}

impl Scheduler {
    /// Makes the KV cache with so many cells, and prefills the system prompt.
    ///
    /// # Errors
    /// When there is no memory for the cache, or the system prompt fills it.
    pub(in crate::engine) fn new(
        model: &Arc<Model>,
        threads: &Arc<Threads>,
        (change, prefix): (u64, Vec<Token>),
        (config, fit, cells): (&config::Engine, Fit, u32),
        carried: watch::Sender<Carried>,
    ) -> Result<Self, EngineError> {
        let sequences = config.parallel.get() + TURNS * TURN_SEQUENCES + PAST_SEQUENCES;
        let shape = Shape {
            cells,
            keeps_all: true,
            is_small: false,
            sequences: KEPT.cast_unsigned() + sequences,
            batch: config.batch.get(),
        };
        let context = Context::new(model, threads, shape)?;
        let for_speech = match model.encoder() {
            Ok(_) => context.cells() / 4,
            Err(_) => 0,
        };
        let cells = Cells::new(context.cells(), for_speech);
        let mut scheduler = Self {
            prefixes: Prefixes::for_answers(change, prefix, &cells),
            cells,
            context,
            model: Arc::clone(model),
            batch: config.batch.get() as usize,
            parallel: config.parallel.get() as usize,
            queue: VecDeque::new(),
            hearings: Vec::new(),
            active: Vec::new(),
            // Sequence numbers are small, so their count fits into any integer.
            free: (KEPT..).take(sequences as usize).collect(),
            longs: Longs::default(),
            fit,
            long_cache: config.long_cache,
            threads: Arc::clone(threads),
            pasts: Pasts::default(),
            wanted: None,
            candidates: Candidates::new(Vec::new(), false),
            order: Order::default(),
            finished: 0,
            carried,
            stay: Some(Arc::default()),
            fate: None,
            patience: match config.unload_after_s.get() {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            },
            used: Instant::now(),
        };
        scheduler.read_prefixes()?;
        scheduler.report();
        Ok(scheduler)
    }

    /// Cells of the KV cache.
    pub(in crate::engine) fn cells(&self) -> u32 {
        u32::try_from(self.context.cells()).unwrap_or(u32::MAX)
    }

    /// Maximum cells of a question, prefix included.
    pub(in crate::engine) fn capacity(&self) -> usize {
        self.cells.beside_speech()
    }

    /// A mark that is alive as long as the model stays.
    pub(in crate::engine) fn stay(&self) -> Weak<()> {
        self.stay.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// Keeps `tokens` as the prefix for requests of this kind.
    pub(in crate::engine) fn keep(&mut self, kept: Kept, change: u64, tokens: Vec<Token>) {
        self.prefixes.replace(kept, change, tokens);
    }

    /// Serves until it is told to stop or all handles are gone, or until the model has to go. Then `announce` is called at
    /// once with the fate, which is returned when all that was asked of the model is answered.
    pub(in crate::engine) fn run(
        mut self,
        work: &mpsc::Receiver<Work>,
        announce: &dyn Fn(Fate),
    ) -> Option<Fate> {
        while self.receive(work.try_recv().ok(), work, announce) {
            self.drop_orphans();
            self.change_prefixes();
            self.admit();
            self.report();
            if !self.is_idle() {
                self.step();
                self.report();
                self.used = Instant::now();
                continue;
            }
            if self.is_vacated() {
                return self.fate;
            }
            let next = self.next(work);
            if !self.receive(Some(next), work, announce) {
                break;
            }
        }
        None
    }

    /// Waits for a message, or for the time when the model goes because nobody uses it.
    fn next(&self, work: &mpsc::Receiver<Work>) -> Work {
        let is_unused = self.hearings.is_empty() && self.fate.is_none();
        match self.patience.filter(|_| is_unused) {
            None => work.recv().unwrap_or(Work::Stop),
            Some(patience) => match work.recv_timeout(patience.saturating_sub(self.used.elapsed()))
            {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => Work::Fate(Fate::Unload),
                Err(RecvTimeoutError::Disconnected) => Work::Stop,
            },
        }
    }

    /// Whether the model has to go and nobody needs it any more. Then no more leases are given.
    fn is_vacated(&mut self) -> bool {
        if self.fate.is_none() || !self.queue.is_empty() || !self.hearings.is_empty() {
            return false;
        }
        // `None`, once no lease has a share of it.
        self.stay = self.stay.take().and_then(|it| Arc::try_unwrap(it).err());
        self.stay.is_none()
    }

    /// Takes in all new work, `next` first. Returns false if the loop is to end.
    fn receive(
        &mut self,
        mut next: Option<Work>,
        work: &mpsc::Receiver<Work>,
        announce: &dyn Fn(Fate),
    ) -> bool {
        while let Some(arrived) = next {
            match arrived {
                Work::Job(job) => self.enqueue(*job),
                Work::Recording(it) => self.queue.push_back(Waiting::Recording(*it)),
                Work::Listen(opening) => self.listen(*opening),
                Work::Sound { turn, samples } => self.hear(turn, &samples),
                Work::Ask { turn, jobs } => self.ask(turn, jobs),
                Work::Close(turn) => self.close(turn),
                Work::Fate(fate) => self.obey(fate, announce),
                Work::Released => {}
                Work::Scarce(is_scarce) => self.adapt(is_scarce, announce),
                Work::Keep {
                    kept,
                    change,
                    tokens,
                } => self.keep(kept, change, tokens),
                // The receiver may be gone.
                Work::Beat(beat) => drop(beat.send(())),
                Work::Stop => return false,
            }
            next = work.try_recv().ok();
        }
        true
    }

    /// Of several fates the last counts. A model that stays is loaded already.
    fn obey(&mut self, fate: Fate, announce: &dyn Fn(Fate)) {
        if self.fate.is_some() || fate != Fate::Load {
            announce(fate);
            self.fate = Some(fate);
        }
    }

    /// Gives back what memory it can when that is scarce: a long question at once, cells once the model is not in use.
    fn adapt(&mut self, is_scarce: bool, announce: &dyn Fn(Fate)) {
        if is_scarce {
            self.end_long();
        }
        let cells = if is_scarce {
            self.fit.least
        } else {
            self.fit.cells
        };
        // A model that goes for another reason gets the cells that there is memory for then.
        let resizes = matches!(self.fate, None | Some(Fate::Resize(_)));
        if resizes && cells as usize != self.context.cells() {
            self.obey(Fate::Resize(cells), announce);
        }
    }

    /// Whether nothing can be computed until something arrives.
    fn is_idle(&self) -> bool {
        let mut hearings = self.hearings.iter();
        self.active.is_empty()
            && self.longs.is_empty()
            && !self.prefixes.is_unread()
            && hearings.all(|hearing| hearing.turn().is_some() && hearing.upcoming(self.batch) == 0)
    }

    /// A free sequence, if need be that of the prompt that was used least recently. There are more such prompts than one
    /// then, so the one that was used last stays. No request moves.
    fn sequence(&mut self) -> Option<SequenceId> {
        if self.free.is_empty()
            && let Some(id) = self.pasts.give_up()
        {
            self.give_back(id);
        }
        self.free.pop()
    }

    /// The same, if need be after cancelled requests have been dropped.
    fn sequence_of_orphan(&mut self) -> Option<SequenceId> {
        let id = self.sequence();
        id.or_else(|| {
            self.drop_orphans();
            self.sequence()
        })
    }

    /// Makes room for all rows that cells are set aside for. Prompts that were kept give way.
    fn make_room(&mut self) {
        while self.cells.taken() + self.pasts.rows() > self.cells.total()
            && let Some(id) = self.pasts.give_up()
        {
            self.give_back(id);
        }
    }

    /// Puts a request into the queue: before questions if a person in the room waits for it.
    fn enqueue(&mut self, job: Job) {
        if job.priority == Priority::Question && job.prompt.len() >= self.capacity() {
            return self.longs.enqueue(job);
        }
        let goes_before = |it: &Waiting| it.job().priority <= job.priority;
        let place = self.queue.iter().take_while(|it| goes_before(it)).count();
        self.queue.insert(place, Waiting::Typed(job));
    }

    fn drop_orphans(&mut self) {
        let waiting = self.queue.len();
        self.queue.retain(|waiting| !waiting.job().is_orphan());
        let gone = waiting - self.queue.len() + self.longs.drop_orphans();
        self.finished += gone as u64;
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

    /// Computes the batch that comes next.
    fn step(&mut self) {
        self.lend();
        let heard = self.next_hearing();
        let (generating, reading) = self.generating_and_reading(|_| true);
        let classes = |indices: Vec<usize>| {
            let classes = indices.into_iter().map(|it| self.active[it].job.priority);
            classes.collect()
        };
        let demand = Demand {
            sound: heard.map(|index| self.hearings[index].priority),
            generating: classes(generating),
            reading: classes(reading),
            awaits_prefix: self.wanted.map(|(_, class)| class),
            has_unread_prefix: self.prefixes.is_unread(),
            has_long: !self.longs.is_empty(),
        };
        match self.order.next(&demand) {
            None => {}
            Some(Batch::Tokens(class)) => {
                let (generating, _) = self.generating_and_reading(|it| it == class);
                self.step_generating(&generating);
            }
            Some(Batch::Sound) => {
                if let Some(index) = heard {
                    self.step_hearing(index);
                }
            }
            Some(Batch::Prompts { of, is_alone }) => {
                let (_, reading) = self.generating_and_reading(|it| it == of);
                self.step_prompts(of, &reading, is_alone);
            }
            Some(Batch::AwaitedPrefix) => {
                if let Some((id, _)) = self.wanted {
                    self.step_prefix(id);
                }
            }
            Some(Batch::Long) => self.step_long(),
            Some(Batch::Prefix) => {
                if let Some(id) = self.prefixes.first_unread() {
                    self.step_prefix(id);
                }
            }
        }
    }

    /// The sequences with a priority that `of` accepts: those whose next token is to be drawn, and those that
    /// read their prompts.
    fn generating_and_reading(&self, of: impl Fn(Priority) -> bool) -> (Vec<usize>, Vec<usize>) {
        let chosen = (0..self.active.len()).filter(|index| of(self.active[*index].job.priority));
        chosen.partition(|index| matches!(self.active[*index].next(), Next::Token(_)))
    }

    fn give_back(&mut self, id: SequenceId) {
        self.context.forget(id);
        self.free.push(id);
    }

    /// Computes rows of prompts that are being read. Questions share a batch, because that is quicker for all of
    /// them. After speech one prompt is read at a time, the reply's first. While the reply is being generated, at
    /// most [`BESIDE_SPEECH`] rows are read at a time, so that its next word is not delayed.
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
        self.make_room();
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

    /// Draws the token after batch row `row` for a sequence. Returns how the answer ended, if it did.
    fn sample(&mut self, index: usize, row: usize) -> Option<Result<Finish, EngineError>> {
        let drawn = self.context.logits(row).and_then(|logits| {
            self.active[index].sample(&self.model, logits, &mut self.candidates)
        });
        drawn.transpose()
    }

    fn fail(&mut self, index: usize, error: EngineError) {
        let sequence = self.active.remove(index);
        self.give_back(sequence.id);
        self.finished += 1;
        sequence.job.fail(error);
    }

    /// Takes a sequence out and gives its cells back. The rows of its prompt are kept as long as there is room.
    fn release(&mut self, index: usize) -> Sequence {
        let mut sequence = self.active.remove(index);
        let id = sequence.id;
        // The cells of a kept prefix that was replaced meanwhile are accounted for no longer.
        let mut shared = sequence.shared().iter();
        let is_accounted = shared.all(|cells| self.prefixes.has(cells));
        let freed = match sequence.take_past().filter(|_| is_accounted) {
            Some(past) => {
                self.context.truncate(id, past.tokens.len());
                self.pasts.add(id, past)
            }
            None => vec![id],
        };
        for id in freed {
            self.give_back(id);
        }
        self.finished += 1;
        sequence
    }

    /// Publishes the engine's load, if it has changed.
    fn report(&self) {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let turns = || self.hearings.iter().filter(|it| it.turn().is_some());
        let closed = self.hearings.len() - turns().count();
        let backlog = turns().map(Hearing::backlog).sum();
        let health = Health {
            active: number(self.active.len() + closed + self.longs.active()),
            queued: 0,
            turns: number(turns().count()),
            backlog,
            cells_used: number(self.cells.taken()),
            cells_total: number(self.cells.total()),
            prefix_cells: number(self.cells.prefixes()),
            long_cells: number(self.longs.cells()),
            finished: self.finished,
        };
        let carried = Carried {
            health,
            questions: number(self.questions() + self.longs.active()),
        };
        self.carried.send_if_modified(|published| {
            let changed = *published != carried;
            *published = carried;
            changed
        });
    }
}
