//! Sound on its way into the KV cache, on a sequence of its own.
//!
//! A hearing is *open* while somebody speaks: it grows, and its rows are computed as they come. When
//! answers are asked for, a *closed* fork of it is finished; it is computed to its end, and the
//! answers begin where it ends. The open one stays as it was, in case the person goes on. The sound of
//! a file is closed from the start.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::audio::{Rows, SAMPLE_RATE, Spans};
use super::cells::Block;
use super::context::{Context, Row, SequenceId};
use super::mixed::Ending;
use super::model::Token;
use super::places::Place;
use super::sequence::{Base, Job};
use super::{EngineError, Priority};

/// Number of a turn.
pub(super) type TurnId = u64;

/// A turn that somebody begins to speak.
#[derive(Debug)]
pub(super) struct Opening {
    pub turn: TurnId,
    pub spans: Spans,
    /// Rows that are heard but not in the KV cache, for whoever asks how far behind the machine is.
    pub backlog: Arc<AtomicUsize>,
    pub place: Arc<Place>,
}

/// Finished sound and the question about it.
#[derive(Debug)]
pub(super) struct Recording {
    pub spans: Spans,
    pub job: Job,
}

/// Sound with a sequence in the KV cache.
#[derive(Debug)]
pub(super) struct Hearing {
    /// Its number in the KV cache.
    pub id: SequenceId,
    /// Who is served first.
    pub priority: Priority,
    /// What is in the KV cache.
    pub base: Base,
    /// Cells that hold it.
    pub cells: Vec<Rc<Block>>,
    /// Cells set aside for the rest and the answer; without, they are taken as they are needed.
    pub reserved: Option<Rc<Block>>,
    /// The first answer, if it begins with the last rows of the sound.
    pub lead: Option<Lead>,
    spans: Spans,
    state: State,
}

/// An answer whose prompt goes into the KV cache in one batch with the last rows of the sound.
#[derive(Debug)]
pub(super) struct Lead {
    /// Number of its request.
    pub request: u64,
    /// Its sequence: the hearing's own, unless others want that too.
    pub id: SequenceId,
    /// Cells for its prompt and its answer.
    pub cells: Rc<Block>,
    /// Its prompt, without the token whose logits it begins with.
    pub prompt: Vec<Token>,
    /// Whether that batch was computed.
    pub is_read: bool,
}

#[derive(Debug)]
enum State {
    Open {
        turn: TurnId,
        backlog: Arc<AtomicUsize>,
        failed: Option<EngineError>,
        _place: Arc<Place>,
    },
    Closed {
        jobs: Vec<Job>,
    },
}

impl Hearing {
    /// Opens a turn.
    pub(super) fn open(id: SequenceId, opening: Opening) -> Self {
        let state = State::Open {
            turn: opening.turn,
            backlog: opening.backlog,
            failed: None,
            _place: opening.place,
        };
        Self::new(id, Priority::Speech, opening.spans, state)
    }

    /// Begins with finished sound, for which cells have been set aside.
    pub(super) fn of_recording(id: SequenceId, recording: Recording, reserved: Rc<Block>) -> Self {
        let Recording { spans, job } = recording;
        let priority = job.priority;
        let state = State::Closed { jobs: vec![job] };
        let mut hearing = Self::new(id, priority, spans, state);
        hearing.base.began = Some(Instant::now());
        hearing.reserved = Some(reserved);
        hearing
    }

    fn new(id: SequenceId, priority: Priority, spans: Spans, state: State) -> Self {
        Self {
            id,
            priority,
            base: Base::default(),
            cells: Vec::new(),
            reserved: None,
            lead: None,
            spans,
            state,
        }
    }

    /// Whether nothing of it is in the KV cache.
    pub(super) fn is_fresh(&self) -> bool {
        self.base.rows == 0
    }

    /// The tokens it begins with.
    pub(super) fn first_tokens(&self) -> Vec<Token> {
        self.spans.first_tokens()
    }

    /// Begins with `rows` rows that are in the KV cache already, and holds their `cells` with others.
    pub(super) fn begin_with(&mut self, rows: usize, cells: Vec<Rc<Block>>) {
        self.spans.skip(rows);
        self.base.rows = rows;
        self.base.cached = rows;
        self.cells.extend(cells);
    }

    /// The turn, ended here, on sequence `id`, with the questions about it. Its rows so far are to be
    /// shared with that sequence.
    pub(super) fn closed(&self, id: SequenceId, jobs: Vec<Job>) -> Self {
        let mut spans = self.spans.clone();
        spans.finish();
        let mut base = self.base.clone();
        base.effort.backlog = duration_of_rows(spans.backlog());
        base.effort.before = (base.effort.encode, base.effort.prefill);
        base.began = Some(Instant::now());
        Self {
            id,
            priority: self.priority,
            base,
            cells: self.cells.clone(),
            reserved: None,
            lead: None,
            spans,
            state: State::Closed { jobs },
        }
    }

    /// The turn that is being spoken.
    pub(super) fn turn(&self) -> Option<TurnId> {
        match &self.state {
            State::Open { turn, .. } => Some(*turn),
            State::Closed { .. } => None,
        }
    }

    /// Why it was given up, if it was.
    pub(super) fn failed(&self) -> Option<&EngineError> {
        match &self.state {
            State::Open { failed, .. } => failed.as_ref(),
            State::Closed { .. } => None,
        }
    }

    /// Gives it up; the failure is told to whoever asks. The questions already asked come back.
    pub(super) fn fail(&mut self, error: EngineError) -> Vec<Job> {
        self.cells.clear();
        match &mut self.state {
            State::Open { failed, .. } => {
                *failed = Some(error);
                Vec::new()
            }
            State::Closed { jobs } => std::mem::take(jobs),
        }
    }

    /// Hears more of an open turn.
    pub(super) fn push(&mut self, samples: &[f32]) {
        if self.failed().is_none() {
            self.spans.push(samples);
        }
        self.tell_backlog();
    }

    /// Questions whose answers have not begun.
    pub(super) fn jobs(&mut self) -> Option<&mut Vec<Job>> {
        match &mut self.state {
            State::Open { .. } => None,
            State::Closed { jobs } => Some(jobs),
        }
    }

    /// Rows to be computed next, at most `most`; 0 when there are none yet, or no more.
    pub(super) fn upcoming(&self, most: usize) -> usize {
        match self.failed() {
            None => self.spans.upcoming(most),
            Some(_) => 0,
        }
    }

    /// Whether the next batch ends the sound, and what closes the turn for the first answer fits into
    /// it too.
    pub(super) fn is_ending(&self, most: usize) -> bool {
        let State::Closed { jobs } = &self.state else {
            return false;
        };
        let closing = jobs.first().map_or(usize::MAX, |job| job.prompt.len());
        self.spans.is_last(most) && self.spans.backlog().saturating_add(closing) <= most
    }

    /// How many cells were set aside for it when it began.
    pub(super) fn first_cells(&self) -> usize {
        self.reserved.as_ref().map_or(0, |block| block.size())
    }

    /// How many of the cells that were set aside have its rows in them.
    pub(super) fn used_of_reserved(&self) -> usize {
        match self.reserved {
            Some(_) => self.base.rows - self.base.cached,
            None => 0,
        }
    }

    /// Whether everything is in the KV cache and answers may begin.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Closed { .. }) && self.spans.is_over()
    }

    /// Sound that is not in the KV cache yet.
    pub(super) fn backlog(&self) -> Duration {
        duration_of_rows(self.spans.backlog())
    }

    /// Computes the next rows, at most `most`: makes soft tokens of sound, and puts them or tokens into
    /// the KV cache.
    ///
    /// # Errors
    /// When llama.cpp fails.
    pub(super) fn feed(&mut self, context: &mut Context, most: usize) -> Result<(), EngineError> {
        let started = Instant::now();
        let Some(rows) = self.spans.take(most)? else {
            return Ok(());
        };
        let made = Instant::now();
        let count = match &rows {
            Rows::Tokens(tokens) => {
                context.decode_tokens(&Row::of(tokens, self.base.rows, self.id, false))?;
                tokens.len()
            }
            Rows::Soft(soft_tokens) => {
                self.base.effort.encode += made - started;
                let start = self.base.rows;
                let count = match &mut self.lead {
                    Some(lead) if self.spans.is_over() => {
                        lead.is_read = true;
                        context.decode_ending(&Ending {
                            soft_tokens,
                            start,
                            heard: self.id,
                            tokens: &lead.prompt,
                            closing: lead.id,
                        })?
                    }
                    _ => context.decode_soft_tokens(soft_tokens, start, self.id)?,
                };
                self.base.audio += count;
                count
            }
        };
        self.base.effort.prefill += made.elapsed();
        self.base.rows += count;
        self.base.effort.sound = duration(self.spans.samples());
        self.tell_backlog();
        Ok(())
    }

    fn tell_backlog(&self) {
        if let State::Open { backlog, .. } = &self.state {
            backlog.store(self.spans.backlog(), Ordering::Relaxed);
        }
    }
}

impl Recording {
    /// The tokens before its sound.
    pub(super) fn first_tokens(&self) -> Vec<Token> {
        self.spans.first_tokens()
    }

    /// All rows before the answer.
    pub(super) fn rows(&self) -> usize {
        self.spans.backlog() + self.job.prompt.len()
    }
}

/// How long so many samples last.
fn duration(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE))
}

/// How long the sound of so many rows lasts.
pub(super) fn duration_of_rows(rows: usize) -> Duration {
    Duration::from_secs(rows as u64) / super::audio::ROWS_PER_SECOND
}
