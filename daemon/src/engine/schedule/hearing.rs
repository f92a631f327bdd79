//! Sound on its way into the KV cache, on a sequence of its own.
//!
//! A hearing is *open* while a turn is being spoken: it grows, and its rows are computed as they come. When
//! answers are asked for, a *closed* fork of it is computed to its end, and the answers begin where it ends.
//! The open one stays as it was, in case the turn goes on. The sound of a file is closed from the start.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cells::Block;
use super::places::Place;
use super::sequence::{Base, Job};
use crate::engine::audio::{Rows, Spans};
use crate::engine::llama::context::{Context, Row};
use crate::engine::llama::mixed::{Ending, SequenceId};
use crate::engine::llama::model::Token;
use crate::engine::{EngineError, Priority};
use crate::sound::SAMPLE_RATE;

/// Number of a turn.
pub(in crate::engine) type TurnId = u64;

/// A spoken turn that is to be opened.
#[derive(Debug)]
pub(in crate::engine) struct Opening {
    pub turn: TurnId,
    pub spans: Spans,
    /// Rows heard but not in the KV cache yet; shared with the turn's handle.
    pub backlog: Arc<AtomicUsize>,
    pub place: Arc<Place>,
}

/// Finished sound and the question about it.
#[derive(Debug)]
pub(in crate::engine) struct Recording {
    pub spans: Spans,
    pub job: Job,
}

/// Sound with a sequence in the KV cache.
#[derive(Debug)]
pub(in crate::engine) struct Hearing {
    /// Its number in the KV cache.
    pub id: SequenceId,
    /// `Speech` for a spoken turn, else that of the question.
    pub priority: Priority,
    /// Its rows in the KV cache.
    pub base: Base,
    /// Cells of these rows that are not in `reserved`.
    pub cells: Vec<Rc<Block>>,
    /// Cells set aside for the rest and the answer. `None`: cells are taken as they are needed.
    pub reserved: Option<Rc<Block>>,
    /// The first answer, if its prompt shares a batch with the last rows of the sound.
    pub lead: Option<Lead>,
    spans: Spans,
    state: State,
}

/// An answer whose prompt goes into the KV cache in one batch with the last rows of the sound.
#[derive(Debug)]
pub(in crate::engine) struct Lead {
    /// Number of its request.
    pub request: u64,
    /// Its sequence: the hearing's own if this is the only answer.
    pub id: SequenceId,
    /// Cells for its prompt and its answer.
    pub cells: Rc<Block>,
    /// Its prompt without the last token, after whose logits the answer begins.
    pub prompt: Vec<Token>,
    /// Whether that batch has been computed.
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
    pub(in crate::engine) fn open(id: SequenceId, opening: Opening) -> Self {
        let state = State::Open {
            turn: opening.turn,
            backlog: opening.backlog,
            failed: None,
            _place: opening.place,
        };
        Self::new(id, Priority::Speech, opening.spans, state)
    }

    /// Begins finished sound, for which cells have been set aside.
    pub(in crate::engine) fn of_recording(
        id: SequenceId,
        recording: Recording,
        reserved: Rc<Block>,
    ) -> Self {
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
    pub(in crate::engine) fn is_fresh(&self) -> bool {
        self.base.rows == 0
    }

    /// The tokens it begins with.
    pub(in crate::engine) fn first_tokens(&self) -> Vec<Token> {
        self.spans.first_tokens()
    }

    /// Begins with `rows` rows that are in the KV cache already, and shares their `cells`.
    pub(in crate::engine) fn begin_with(&mut self, rows: usize, cells: Vec<Rc<Block>>) {
        self.spans.skip(rows);
        self.base.rows = rows;
        self.base.cached = rows;
        self.cells.extend(cells);
    }

    /// A closed fork of the turn, ended here, on sequence `id`, with the questions about it. The caller shares
    /// the rows so far with that sequence.
    pub(in crate::engine) fn closed(&self, id: SequenceId, jobs: Vec<Job>) -> Self {
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

    /// The turn, if it is open.
    pub(in crate::engine) fn turn(&self) -> Option<TurnId> {
        match &self.state {
            State::Open { turn, .. } => Some(*turn),
            State::Closed { .. } => None,
        }
    }

    /// Why the open turn was given up, if it was.
    pub(in crate::engine) fn failed(&self) -> Option<&EngineError> {
        match &self.state {
            State::Open { failed, .. } => failed.as_ref(),
            State::Closed { .. } => None,
        }
    }

    /// Gives the hearing up. An open one keeps `error` for questions still to come; a closed one returns its
    /// questions.
    pub(in crate::engine) fn fail(&mut self, error: EngineError) -> Vec<Job> {
        self.cells.clear();
        match &mut self.state {
            State::Open { failed, .. } => {
                *failed = Some(error);
                Vec::new()
            }
            State::Closed { jobs } => std::mem::take(jobs),
        }
    }

    /// Appends samples to an open turn.
    pub(in crate::engine) fn push(&mut self, samples: &[f32]) {
        if self.failed().is_none() {
            self.spans.push(samples);
        }
        self.tell_backlog();
    }

    /// Questions whose answers have not begun; `None` for an open turn.
    pub(in crate::engine) fn jobs(&mut self) -> Option<&mut Vec<Job>> {
        match &mut self.state {
            State::Open { .. } => None,
            State::Closed { jobs } => Some(jobs),
        }
    }

    /// Rows to be computed next, at most `most`; 0 when there are none yet, or no more.
    pub(in crate::engine) fn upcoming(&self, most: usize) -> usize {
        match self.failed() {
            None => self.spans.upcoming(most),
            Some(_) => 0,
        }
    }

    /// Whether the next batch of at most `most` rows ends the sound and has room for the prompt of the first
    /// answer.
    pub(in crate::engine) fn is_ending(&self, most: usize) -> bool {
        let State::Closed { jobs } = &self.state else {
            return false;
        };
        let closing = jobs.first().map_or(usize::MAX, |job| job.prompt.len());
        self.spans.is_last(most) && self.spans.backlog().saturating_add(closing) <= most
    }

    /// Number of cells reserved for it when it began; 0 if none were.
    pub(in crate::engine) fn first_cells(&self) -> usize {
        self.reserved.as_ref().map_or(0, |block| block.size())
    }

    /// Number of reserved cells that its rows are in.
    pub(in crate::engine) fn used_of_reserved(&self) -> usize {
        match self.reserved {
            Some(_) => self.base.rows - self.base.cached,
            None => 0,
        }
    }

    /// Whether everything is in the KV cache and answers may begin.
    pub(in crate::engine) fn is_complete(&self) -> bool {
        matches!(self.state, State::Closed { .. }) && self.spans.is_over()
    }

    /// Length of the sound that is not in the KV cache yet.
    pub(in crate::engine) fn backlog(&self) -> Duration {
        duration_of_rows(self.spans.backlog())
    }

    /// Computes the next rows, at most `most`: encodes sound into soft tokens, and puts those or text tokens
    /// into the KV cache.
    ///
    /// # Errors
    /// When llama.cpp fails.
    pub(in crate::engine) fn feed(
        &mut self,
        context: &mut Context,
        most: usize,
    ) -> Result<(), EngineError> {
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
    pub(in crate::engine) fn first_tokens(&self) -> Vec<Token> {
        self.spans.first_tokens()
    }

    /// All rows before the answer.
    pub(in crate::engine) fn rows(&self) -> usize {
        self.spans.backlog() + self.job.prompt.len()
    }
}

/// Duration of this number of samples.
fn duration(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE))
}

/// Duration of the sound in this number of rows.
pub(in crate::engine) fn duration_of_rows(rows: usize) -> Duration {
    Duration::from_secs(rows as u64) / crate::engine::audio::ROWS_PER_SECOND
}
