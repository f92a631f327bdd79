//! One request on its way through the model.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gemmad_api::{Finish, Stats};

use super::answer::Outlet;
use super::cells::{Block, Holding};
use super::context::{Row, SequenceId};
use super::grammar::Guide;
use super::model::{Model, Token};
use super::places::Place;
use super::sampler::{Candidates, Choice, Sampler};
use super::text::Text;
use super::{EngineError, Event, Priority, Sampling};
use crate::platform::withheld::Withheld;

/// A request, prepared, on its way to the engine thread.
#[derive(Debug)]
pub(super) struct Job {
    pub id: u64,
    /// What the model reads; of a spoken request, what follows the sound. What the answer has to begin with
    /// is its end.
    pub prompt: Vec<Token>,
    /// What the answer has to begin with.
    pub begun: Vec<Token>,
    /// What the rest of the answer is held to.
    pub guide: Option<Guide>,
    pub max_tokens: usize,
    pub min_tokens: u32,
    pub sampling: Sampling,
    pub priority: Priority,
    pub heard: Option<Instant>,
    /// Whether its sound is the beginning of what a file ought to hold.
    pub is_cut_short: bool,
    pub arrived: Instant,
    /// Dropped before the outlet: when an answer has ended, its place is free.
    pub place: Arc<Place>,
    pub outlet: Outlet,
}

impl Job {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_orphan(&self) -> bool {
        self.outlet.is_closed()
    }

    /// Gives the place back and writes the end, in this order, so that who reads it can ask again at once.
    pub(super) fn end(self, event: Event) {
        drop(self.place);
        self.outlet.end(event);
    }

    /// Ends the answer with a failure.
    pub(super) fn fail(self, error: EngineError) {
        if error != EngineError::Stopping {
            log::error!(request = self.id; "{error}");
        }
        self.end(Event::Failed(error));
    }
}

/// What is in the KV cache before a request's own prompt.
#[derive(Debug, Clone, Default)]
pub(super) struct Base {
    /// Rows.
    pub rows: usize,
    /// How many of them were there before anybody asked or spoke.
    pub cached: usize,
    /// How many of them are soft tokens.
    pub audio: usize,
    /// What it cost.
    pub effort: Effort,
    /// When the request's own sound was begun with, if it has any.
    pub began: Option<Instant>,
}

/// What was computed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effort {
    /// Time the audio encoder took.
    pub encode: Duration,
    /// Time that batches of prompt rows took.
    pub prefill: Duration,
    /// Sound heard.
    pub sound: Duration,
    /// Sound that was heard but not in the KV cache when the request came.
    pub backlog: Duration,
    /// Of `encode` and `prefill`, what was done before the request came.
    pub before: (Duration, Duration),
}

/// The cells that a sequence begins with.
#[derive(Debug)]
pub(super) struct Held {
    /// Those of the rows that it shares with others.
    pub shared: Vec<Rc<Block>>,
    /// Its own.
    pub own: Rc<Block>,
    /// How many of these are free for rows after those in its base.
    pub room: usize,
}

/// What a sequence feeds the model next.
pub(super) enum Next<'a> {
    /// Tokens whose logits nobody wants: of the prompt all but the last, and of the answer those after which
    /// a grammar leaves no choice.
    Prompt(&'a [Token]),
    /// A token whose logits are wanted: the prompt's last, or the one written last.
    Token(Token),
}

/// A request that has KV cells.
pub(super) struct Sequence {
    /// Its number in the KV cache.
    pub id: SequenceId,
    /// The request.
    pub job: Job,
    /// Rows in the KV cache, shared ones included; the next row's position.
    rows: usize,
    /// Rows that fit into its cells.
    end: usize,
    /// Cells of the rows that it shares with others.
    _shared: Vec<Rc<Block>>,
    /// Its own cells: those it began with, then what it has borrowed.
    own: Vec<Rc<Block>>,
    /// What the model has to read: the prompt at first, then what was added to the answer.
    ahead: Vec<Token>,
    /// How many of these are in the KV cache.
    read: usize,
    sampler: Sampler,
    text: Text,
    stats: Stats,
    first_token: Option<Instant>,
    /// Whether tokens that had to come found no room.
    is_cut: bool,
}

impl Sequence {
    /// Gives `job` a sequence that begins with `base`, and cells.
    pub(super) fn new(id: SequenceId, mut job: Job, base: &Base, held: Held) -> Self {
        let rows = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let Effort {
            encode,
            prefill,
            sound,
            backlog,
            before,
        } = base.effort;
        let spoken = !sound.is_zero();
        let stats = Stats {
            request: job.id,
            prompt_tokens: rows(base.rows + job.prompt.len() - job.begun.len()),
            cached_tokens: rows(base.cached),
            audio_tokens: rows(base.audio),
            queue_ms: milliseconds(base.began.map_or_else(
                || job.arrived.elapsed(),
                |began| began.saturating_duration_since(job.arrived),
            )),
            encode_ms: milliseconds(encode),
            prefill_ms: milliseconds(prefill),
            sound_ms: spoken.then(|| milliseconds(sound)),
            real_time_factor: spoken.then(|| (encode + prefill).div_duration_f64(sound)),
            backlog_ms: spoken.then(|| milliseconds(backlog)),
            end_encode_ms: spoken.then(|| milliseconds(encode.saturating_sub(before.0))),
            end_prefill_ms: spoken.then(|| milliseconds(prefill.saturating_sub(before.1))),
            cut_short: job.is_cut_short,
            ..Stats::default()
        };
        Self {
            id,
            rows: base.rows,
            end: base.rows + held.room,
            _shared: held.shared,
            own: vec![held.own],
            ahead: std::mem::take(&mut job.prompt),
            read: 0,
            sampler: Sampler::new(&job.sampling),
            text: Text::default(),
            stats,
            first_token: None,
            is_cut: false,
            job,
        }
    }

    /// The same, with the first `rows` tokens of the prompt in the KV cache.
    pub(super) fn having_read(mut self, rows: usize) -> Self {
        self.rows += rows;
        self.read = rows;
        self
    }

    /// Cells it lacks for what it reads next and the token after that.
    pub(super) fn lacking(&self) -> usize {
        (self.rows + self.ahead.len() - self.read + 1).saturating_sub(self.end)
    }

    /// Takes more cells.
    pub(super) fn borrow(&mut self, block: Rc<Block>) {
        self.end += block.size();
        self.own.push(block);
    }

    /// How many cells are only its own.
    pub(super) fn holding(&self) -> Holding {
        let size = |block: &Rc<Block>| block.size();
        Holding {
            own: self.own.iter().map(size).sum(),
            first: self.own.first().map_or(0, size),
        }
    }

    /// What it feeds the model next.
    pub(super) fn next(&self) -> Next<'_> {
        match &self.ahead[self.read..] {
            [token] => Next::Token(*token),
            [rest @ .., _] => Next::Prompt(rest),
            // A prompt has at least the token that opens the model's turn, and an answer grows by a token at
            // least.
            [] => Next::Prompt(&[]),
        }
    }

    /// The rows of a batch for at most `budget` of its next tokens.
    pub(super) fn token_rows(&self, budget: usize) -> Vec<Row> {
        let (tokens, wants_logits) = match self.next() {
            Next::Token(token) => (&[token][..], true),
            Next::Prompt(tokens) => (tokens, false),
        };
        let tokens = &tokens[..tokens.len().min(budget)];
        Row::of(tokens, self.rows, self.id, wants_logits)
    }

    /// Notes that `rows` rows went into the KV cache in a batch that took `time`.
    pub(super) fn advance(&mut self, rows: usize, time: Duration) {
        self.rows += rows;
        self.read += rows;
        if self.first_token.is_none() {
            let time = milliseconds(time);
            self.stats.prefill_ms += time;
            self.stats.end_prefill_ms = self.stats.end_prefill_ms.map(|before| before + time);
        }
    }

    /// Draws the next token, adds those that a grammar leaves no choice after it, and sends their text.
    /// Returns how the answer ended, if it did.
    ///
    /// # Errors
    /// When the grammar has become too complex to be followed.
    pub(super) fn sample(
        &mut self,
        model: &Model,
        logits: &[f32],
        candidates: &mut Candidates,
    ) -> Result<Option<Finish>, EngineError> {
        self.note_first_token();
        let begun = std::mem::take(&mut self.job.begun);
        if let Some(finish) = self.write(model, &begun, begun.len()) {
            return Ok(Some(finish));
        }
        let token = self.draw(model, logits, candidates)?;
        if model.ends().contains(&token) {
            return Ok(Some(Finish::Stop));
        }
        self.ahead.clear();
        self.ahead.push(token);
        self.read = 0;
        if let Some(guide) = &mut self.job.guide {
            self.ahead.extend(guide.follow(token)?);
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
        if let Some(guide) = &mut self.job.guide {
            let allowed = guide.allowed()?;
            let choice = Choice::Among(&allowed);
            return Ok(self.sampler.sample(logits, &choice, candidates));
        }
        let is_short = self.stats.output_tokens < self.job.min_tokens;
        let barred = if is_short { model.ends() } else { &[] };
        let choice = Choice::Except(barred);
        Ok(self.sampler.sample(logits, &choice, candidates))
    }

    /// Adds `tokens` to the answer, of which the last `forced` were no choice of the model's. Returns how
    /// the answer ended, if it did.
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
    pub(super) fn finish(mut self, finish: Finish) {
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
        self.stats.total_ms = milliseconds(self.job.arrived.elapsed());
        self.stats.decode_ms = self
            .first_token
            .map_or(0.0, |first| milliseconds(first.elapsed()));
        let stats = &self.stats;
        log::info!(
            event = "answered",
            request = stats.request,
            prompt_tokens = stats.prompt_tokens,
            cached_tokens = stats.cached_tokens,
            audio_tokens = stats.audio_tokens,
            tokens = stats.output_tokens,
            forced_tokens = stats.forced_tokens,
            first_token_ms = stats.first_token_ms.round(),
            ms = stats.total_ms.round();
            "answered"
        );
        self.job.end(Event::Done(self.stats));
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
