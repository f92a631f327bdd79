//! One request on its way through the model.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cells::{Block, Holding};
use super::places::Place;
use super::sampler::{Candidates, Choice, Sampler, log_probability};
use super::scheduler::Past;
use super::text::Text;
use crate::engine::answer::Outlet;
use crate::engine::grammar::Guide;
use crate::engine::llama::context::Row;
use crate::engine::llama::mixed::SequenceId;
use crate::engine::llama::model::{Model, Token};
use crate::engine::{EngineError, Event, Finish, Priority, Sampling, SoundStats, Stats};
use crate::platform::withheld::Withheld;

/// A request, prepared, on its way to the engine thread.
#[derive(Debug)]
pub(in crate::engine) struct Job {
    pub id: u64,
    /// Tokens that the model reads; of a spoken request, those after the sound. They end with `begun`.
    pub prompt: Vec<Token>,
    /// Tokens that the grammar forces at the beginning of the answer.
    pub begun: Vec<Token>,
    /// Position of the answer in its grammar, after `begun`.
    pub guide: Option<Guide>,
    pub max_tokens: usize,
    pub min_tokens: u32,
    /// Whether no token of the protocol may be drawn, other than the end.
    pub is_text: bool,
    pub sampling: Sampling,
    pub priority: Priority,
    pub heard: Option<Instant>,
    /// Whether its sound is a file that breaks off before its end.
    pub is_cut_short: bool,
    /// The user who asks, if the rows of the prompt may be kept and shared with this user's next questions.
    pub owner: Option<Arc<str>>,
    pub arrived: Instant,
    /// Dropped before the outlet, so that an answer that has ended holds no place.
    pub place: Arc<Place>,
    pub outlet: Outlet,
}

impl Job {
    /// Whether the answer has been dropped.
    pub(in crate::engine) fn is_orphan(&self) -> bool {
        self.outlet.is_closed()
    }

    /// Gives the place back and writes the end, in this order, so that a client can ask again as soon as it reads
    /// the end.
    pub(in crate::engine) fn end(self, event: Event) {
        drop(self.place);
        self.outlet.end(event);
    }

    /// Ends the answer with a failure.
    pub(in crate::engine) fn fail(self, error: EngineError) {
        if error != EngineError::Stopping {
            log::error!(request = self.id; "{error}");
        }
        self.end(Event::Failed(error));
    }
}

/// The rows in the KV cache before a request's own prompt.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Base {
    /// Number of rows.
    pub rows: usize,
    /// Number of rows that were in the cache before the request or the turn began.
    pub cached: usize,
    /// Number of soft tokens.
    pub audio: usize,
    /// Cost of computing the rows.
    pub effort: Effort,
    /// When the request about sound was taken up; `None` for a typed one.
    pub began: Option<Instant>,
}

/// The cost of computing rows.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Effort {
    /// Time the audio encoder took.
    pub encode: Duration,
    /// Time that batches of prompt rows took.
    pub prefill: Duration,
    /// Length of the sound.
    pub sound: Duration,
    /// Length of the sound that was not in the KV cache when the request came.
    pub backlog: Duration,
    /// The parts of `encode` and `prefill` that were spent before the request came.
    pub before: (Duration, Duration),
}

/// The cells that a sequence begins with.
#[derive(Debug)]
pub(in crate::engine) struct Held {
    /// Cells of the rows that it shares with others.
    pub shared: Vec<Rc<Block>>,
    /// Its own cells.
    pub own: Rc<Block>,
    /// Number of its own cells that are free for rows after its base.
    pub room: usize,
}

/// What a sequence feeds the model next.
pub(in crate::engine) enum Next<'a> {
    /// Tokens evaluated without logits: the prompt except its last token, and answer tokens whose successor the
    /// grammar forces.
    Prompt(&'a [Token]),
    /// A token evaluated with logits: the last of the prompt, or the last of the answer so far.
    Token(Token),
}

/// A request that has KV cells.
pub(in crate::engine) struct Sequence {
    /// Its number in the KV cache.
    pub id: SequenceId,
    /// The request.
    pub job: Job,
    /// Rows in the KV cache, shared ones included. It is the next row's position.
    rows: usize,
    /// Rows that fit into its cells and the shared ones.
    end: usize,
    /// Cells of the rows that it shares with others.
    shared: Vec<Rc<Block>>,
    /// Its own cells: those it began with, then what it has borrowed.
    own: Vec<Rc<Block>>,
    /// Tokens the model has to read: first the prompt, then those last added to the answer.
    ahead: Vec<Token>,
    /// Number of these in the KV cache.
    read: usize,
    sampler: Sampler,
    text: Text,
    stats: Stats,
    first_token: Option<Instant>,
    /// Whether tokens that the grammar forces exceeded `max_tokens`.
    is_cut: bool,
    /// Its prompt, whose rows stay in the KV cache when it has ended.
    past: Option<Past>,
}

impl Sequence {
    /// Gives `job` a sequence that begins with `base`, and cells.
    pub(in crate::engine) fn new(id: SequenceId, mut job: Job, base: &Base, held: Held) -> Self {
        let rows = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let Effort {
            encode,
            prefill,
            sound,
            backlog,
            before,
        } = base.effort;
        let sound = (!sound.is_zero()).then(|| SoundStats {
            length: sound,
            real_time_factor: (encode + prefill).div_duration_f64(sound),
            backlog,
            end_encode: encode.saturating_sub(before.0),
            end_prefill: prefill.saturating_sub(before.1),
        });
        let prompt_tokens = rows(base.rows + job.prompt.len() - job.begun.len());
        let stats = Stats {
            request: job.id,
            prompt_tokens,
            // Tokens that a grammar forces at the beginning may be in the cache too.
            cached_tokens: rows(base.cached).min(prompt_tokens),
            audio_tokens: rows(base.audio),
            queue: base.began.map_or_else(
                || job.arrived.elapsed(),
                |began| began.saturating_duration_since(job.arrived),
            ),
            encode,
            prefill,
            sound,
            cut_short: job.is_cut_short,
            ..Stats::default()
        };
        Self {
            id,
            rows: base.rows,
            end: base.rows + held.room,
            shared: held.shared,
            own: vec![held.own],
            ahead: std::mem::take(&mut job.prompt),
            read: 0,
            sampler: Sampler::new(&job.sampling),
            text: Text::default(),
            stats,
            first_token: None,
            is_cut: false,
            past: None,
            job,
        }
    }

    /// The same sequence with the first `rows` tokens of the prompt in the KV cache.
    pub(in crate::engine) fn having_read(mut self, rows: usize) -> Self {
        self.rows += rows;
        self.read = rows;
        self
    }

    /// The same sequence, whose prompt is this.
    pub(in crate::engine) fn with_past(self, past: Option<Past>) -> Self {
        Self { past, ..self }
    }

    /// Cells of the rows that it shares with others.
    pub(in crate::engine) fn shared(&self) -> &[Rc<Block>] {
        &self.shared
    }

    /// Takes out the part of its prompt that was read.
    pub(in crate::engine) fn take_past(&mut self) -> Option<Past> {
        let mut past = self.past.take()?;
        past.tokens.truncate(self.rows);
        Some(past)
    }

    /// Cells it lacks for what it reads next and the token after that.
    pub(in crate::engine) fn lacking(&self) -> usize {
        (self.rows + self.ahead.len() - self.read + 1).saturating_sub(self.end)
    }

    /// Takes more cells.
    pub(in crate::engine) fn borrow(&mut self, block: Rc<Block>) {
        self.end += block.size();
        self.own.push(block);
    }

    /// Number of its own cells, and of those of them it began with.
    pub(in crate::engine) fn holding(&self) -> Holding {
        let size = |block: &Rc<Block>| block.size();
        Holding {
            own: self.own.iter().map(size).sum(),
            first: self.own.first().map_or(0, size),
        }
    }

    /// What it feeds the model next.
    pub(in crate::engine) fn next(&self) -> Next<'_> {
        match &self.ahead[self.read..] {
            [token] => Next::Token(*token),
            [rest @ .., _] => Next::Prompt(rest),
            // Never: a prompt has at least the token that opens the model's turn, and an answer grows by at
            // least one token.
            [] => Next::Prompt(&[]),
        }
    }

    /// The rows of a batch for at most `budget` of its next tokens.
    pub(in crate::engine) fn token_rows(&self, budget: usize) -> Vec<Row> {
        let (tokens, wants_logits) = match self.next() {
            Next::Token(token) => (&[token][..], true),
            Next::Prompt(tokens) => (tokens, false),
        };
        let tokens = &tokens[..tokens.len().min(budget)];
        Row::of(tokens, self.rows, self.id, wants_logits)
    }

    /// Notes that `rows` rows went into the KV cache in a batch that took `time`.
    pub(in crate::engine) fn advance(&mut self, rows: usize, time: Duration) {
        self.rows += rows;
        self.read += rows;
        if self.first_token.is_none() {
            self.stats.prefill += time;
            if let Some(sound) = &mut self.stats.sound {
                sound.end_prefill += time;
            }
        }
    }

    /// Draws the next token, adds those that the grammar forces after it, and sends their text.
    /// Returns how the answer ended, if it did.
    ///
    /// # Errors
    /// When the grammar has become too complex to be followed or leaves only tokens that the model file bars, or the
    /// model computes no numbers.
    pub(in crate::engine) fn sample(
        &mut self,
        model: &Model,
        logits: &[f32],
        candidates: &mut Candidates,
    ) -> Result<Option<Finish>, EngineError> {
        self.note_first_token();
        let begun = std::mem::take(&mut self.job.begun);
        check_forced(model, &begun)?;
        if let Some(finish) = self.write(model, &begun, begun.len()) {
            return Ok(Some(finish));
        }
        let token = self.draw(model, logits, candidates)?;
        self.stats.confidence.add(log_probability(logits, token));
        if model.ends().contains(&token) {
            return Ok(Some(Finish::Stop));
        }
        self.ahead.clear();
        self.ahead.push(token);
        self.read = 0;
        if let Some(guide) = &mut self.job.guide {
            let forced = guide.follow(token, model.barred())?;
            check_forced(model, &forced)?;
            self.ahead.extend(forced);
        }
        let ahead = std::mem::take(&mut self.ahead);
        let finish = self.write(model, &ahead, ahead.len() - 1);
        self.ahead = ahead;
        Ok(finish)
    }

    fn draw(
        &mut self,
        model: &Model,
        logits: &[f32],
        candidates: &mut Candidates,
    ) -> Result<Token, EngineError> {
        let barred = model.barred();
        if let Some(guide) = &mut self.job.guide {
            let allowed = guide.allowed()?;
            if allowed.is_within(barred) {
                return Err(EngineError::Barred);
            }
            let choice = Choice::Among(allowed, barred);
            let drawn = self.sampler.sample(logits, &choice, candidates);
            return drawn.ok_or(EngineError::NoNumbers);
        }
        let is_short = self.stats.output_tokens < self.job.min_tokens;
        let ends = if is_short { model.ends() } else { &[] };
        let protocol = if self.job.is_text {
            model.markup()
        } else {
            &[]
        };
        let choice = Choice::Except([ends, protocol, barred]);
        let drawn = self.sampler.sample(logits, &choice, candidates);
        drawn.ok_or(EngineError::NoNumbers)
    }

    /// Adds `tokens` to the answer; the grammar forced the last `forced` of them. Returns how the answer ended,
    /// if it did.
    fn write(&mut self, model: &Model, tokens: &[Token], forced: usize) -> Option<Finish> {
        let chosen = tokens.len() - forced;
        for (nth, token) in tokens.iter().enumerate() {
            if self.stats.output_tokens as usize >= self.job.max_tokens {
                self.is_cut = true;
                return Some(Finish::Length);
            }
            self.stats.output_tokens += 1;
            self.stats.forced_tokens += u32::from(nth >= chosen);
            if let Some(piece) = self.text.push(model, *token) {
                self.job.outlet.write(piece);
            }
        }
        let guide = self.job.guide.as_ref();
        if guide.is_some_and(Guide::is_over) {
            return Some(Finish::Stop);
        }
        (self.stats.output_tokens as usize >= self.job.max_tokens).then_some(Finish::Length)
    }

    /// Sends the end of the answer.
    pub(in crate::engine) fn finish(mut self, finish: Finish) {
        if let Some(piece) = self.text.finish() {
            self.job.outlet.write(piece);
        }
        if finish == Finish::Length
            && let Some(guide) = &mut self.job.guide
            && (self.is_cut || !guide.may_end())
        {
            log::info!(request = self.stats.request; "an answer was cut off before it was complete");
            let so_far = Withheld::default();
            return self
                .job
                .end(Event::Failed(EngineError::Incomplete { so_far }));
        }
        self.stats.finish = finish;
        self.stats.thought_tokens = self.text.thought();
        self.stats.total = self.job.arrived.elapsed();
        self.stats.decode = self.first_token.map_or(Duration::ZERO, |it| it.elapsed());
        let stats = &self.stats;
        if !self.job.place.counts() {
            // Nobody asked.
            return self.job.end(Event::Done(self.stats));
        }
        log::info!(
            event = "answered",
            request = stats.request,
            prompt_tokens = stats.prompt_tokens,
            cached_tokens = stats.cached_tokens,
            audio_tokens = stats.audio_tokens,
            tokens = stats.output_tokens,
            forced_tokens = stats.forced_tokens,
            first_token_ms = milliseconds(stats.first_token),
            ms = milliseconds(stats.total);
            "answered"
        );
        self.job.end(Event::Done(self.stats));
    }

    fn note_first_token(&mut self) {
        if self.first_token.is_none() {
            self.first_token = Some(Instant::now());
            self.stats.first_token = self.job.arrived.elapsed();
            self.stats.speech_to_token = self.job.heard.map(|heard| heard.elapsed());
        }
    }
}

/// Whether the tokens that a grammar forces may be written.
fn check_forced(model: &Model, forced: &[Token]) -> Result<(), EngineError> {
    let is_barred = |token: &Token| model.barred().binary_search(token).is_ok();
    if forced.iter().any(is_barred) {
        return Err(EngineError::Barred);
    }
    Ok(())
}

/// In whole milliseconds.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round()
}
