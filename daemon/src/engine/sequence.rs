//! One request on its way through the model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gemmad_api::{Finish, Stats};
use tokio::sync::mpsc::UnboundedSender;

use super::audio::Clip;
use super::context::{Row, SequenceId};
use super::model::{Model, Token};
use super::places::Place;
use super::prompt::{Prompt, Span};
use super::sampler::{Candidates, Sampler};
use super::text::Text;
use super::{EngineError, Event, Priority, Sampling};

/// A request, prepared, on its way to the engine thread.
#[derive(Debug)]
pub(super) struct Job {
    pub id: u64,
    pub prompt: Prompt,
    pub max_tokens: usize,
    pub min_tokens: u32,
    pub sampling: Sampling,
    pub priority: Priority,
    pub heard: Option<Instant>,
    pub arrived: Instant,
    pub events: UnboundedSender<Event>,
    pub place: Place,
}

impl Job {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_orphan(&self) -> bool {
        self.events.is_closed()
    }

    /// Gives the place back and sends the last event, in this order, so that whoever receives it can
    /// ask again at once.
    pub(super) fn end(self, event: Event) {
        drop(self.place);
        let _ = self.events.send(event);
    }
}

/// What a sequence feeds the model next.
pub(super) enum Next<'a> {
    /// Tokens of the prompt whose logits nobody wants: all but its last.
    Prompt(&'a [Token]),
    /// Soft tokens of the prompt: the clip, and how many of its rows are done.
    Sound(&'a Arc<Clip>, usize),
    /// A token whose logits are wanted: the prompt's last, or the one generated last.
    Token(Token),
}

/// A request that has KV cells.
pub(super) struct Sequence {
    /// Its number in the KV cache.
    pub id: SequenceId,
    /// The request.
    pub job: Job,
    /// Rows in the KV cache, shared ones included; the next row's position.
    pub rows: usize,
    /// How many of them are the shared prefix's.
    pub shared: usize,
    /// Cells set aside for it, shared ones not included.
    pub reserved: usize,
    span: usize,
    offset: usize,
    last: Option<Token>,
    sampler: Sampler,
    text: Text,
    stats: Stats,
    first_token: Option<Instant>,
}

impl Sequence {
    /// Gives `job` a sequence whose first `shared` rows are already in the KV cache.
    pub(super) fn new(id: SequenceId, job: Job, shared: usize, reserved: usize) -> Self {
        let rows = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let stats = Stats {
            request: job.id,
            prompt_tokens: rows(job.prompt.rows()),
            cached_tokens: rows(shared),
            audio_tokens: rows(job.prompt.audio_rows()),
            queue_ms: milliseconds(job.arrived.elapsed()),
            ..Stats::default()
        };
        Self {
            id,
            rows: shared,
            shared,
            reserved,
            span: 0,
            offset: shared,
            last: None,
            sampler: Sampler::new(&job.sampling),
            text: Text::default(),
            stats,
            first_token: None,
            job,
        }
    }

    /// What it feeds the model next.
    pub(super) fn next(&self) -> Next<'_> {
        if let Some(token) = self.last {
            return Next::Token(token);
        }
        match &self.job.prompt.spans[self.span] {
            Span::Audio(clip, _) => Next::Sound(clip, self.offset),
            Span::Tokens(tokens) => {
                let rest = &tokens[self.offset..];
                let is_last_span = self.span + 1 == self.job.prompt.spans.len();
                match rest {
                    [last] if is_last_span => Next::Token(*last),
                    [rest @ .., _] if is_last_span => Next::Prompt(rest),
                    rest => Next::Prompt(rest),
                }
            }
        }
    }

    /// The rows of a batch for up to `budget` of its next tokens.
    pub(super) fn token_rows(&self, budget: usize) -> Vec<Row> {
        let (tokens, logits) = match self.next() {
            Next::Token(token) => (&[token][..], true),
            Next::Prompt(tokens) => (&tokens[..tokens.len().min(budget)], false),
            Next::Sound(..) => (&[][..], false),
        };
        let row = |nth: usize, token: &Token| Row {
            token: *token,
            position: i32::try_from(self.rows + nth).unwrap_or(i32::MAX),
            sequence: self.id,
            logits,
        };
        tokens
            .iter()
            .enumerate()
            .map(|(nth, token)| row(nth, token))
            .collect()
    }

    /// Notes that `rows` rows went into the KV cache in a batch that took `time`.
    pub(super) fn advance(&mut self, rows: usize, time: Duration) {
        self.rows += rows;
        if self.last.take().is_some() {
            return;
        }
        self.stats.prefill_ms += milliseconds(time);
        self.offset += rows;
        if self.offset == self.job.prompt.spans[self.span].rows() {
            self.span += 1;
            self.offset = 0;
        }
    }

    /// Notes that the encoder worked for it.
    pub(super) fn encoded(&mut self, time: Duration) {
        self.stats.encode_ms += milliseconds(time);
    }

    /// Draws the next token and sends its text. Returns how the answer ended, if it did.
    pub(super) fn sample(
        &mut self,
        model: &Model,
        logits: &[f32],
        candidates: &mut Candidates,
    ) -> Option<Finish> {
        let barred = if self.stats.output_tokens < self.job.min_tokens {
            model.ends()
        } else {
            &[]
        };
        let token = self.sampler.sample(logits, barred, candidates);
        self.note_first_token();
        if model.ends().contains(&token) {
            return Some(Finish::Stop);
        }
        self.stats.output_tokens += 1;
        if let Some(piece) = self.text.push(model, token) {
            self.send(Event::Text(piece));
        }
        if self.stats.output_tokens as usize >= self.job.max_tokens {
            return Some(Finish::Length);
        }
        self.last = Some(token);
        None
    }

    /// Sends the end of the answer.
    pub(super) fn finish(mut self, finish: Finish) {
        if let Some(piece) = self.text.finish() {
            self.send(Event::Text(piece));
        }
        self.stats.finish = finish;
        self.stats.thought_tokens = self.text.thought();
        self.stats.total_ms = milliseconds(self.job.arrived.elapsed());
        self.stats.decode_ms = self
            .first_token
            .map_or(0.0, |first| milliseconds(first.elapsed()));
        let stats = &self.stats;
        log::info!(
            request = stats.request,
            prompt_tokens = stats.prompt_tokens,
            cached_tokens = stats.cached_tokens,
            audio_tokens = stats.audio_tokens,
            tokens = stats.output_tokens,
            first_token_ms = stats.first_token_ms.round(),
            ms = stats.total_ms.round();
            "answered"
        );
        self.job.end(Event::Done(self.stats));
    }

    /// Sends the failure of the answer.
    pub(super) fn fail(self, error: EngineError) {
        log::error!(request = self.job.id; "{error}");
        self.job.end(Event::Failed(error));
    }

    /// Whether anybody still listens shows in [`Job::is_orphan`].
    fn send(&self, event: Event) {
        let _ = self.job.events.send(event);
    }

    fn note_first_token(&mut self) {
        if self.first_token.is_none() {
            self.first_token = Some(Instant::now());
            self.stats.first_token_ms = milliseconds(self.job.arrived.elapsed());
            self.stats.speech_to_token_ms =
                self.job.heard.map(|heard| milliseconds(heard.elapsed()));
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
