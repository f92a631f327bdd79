//! Statistics of an answer, and the engine's load.

use std::time::Duration;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its turn.
    #[default]
    Stop,
    /// The answer reached its maximum of tokens or the end of the context.
    Length,
}

/// Statistics of an answer. Counts are tokens of the loaded model; times are wall-clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Number of the request, unique while the daemon runs.
    pub request: u64,
    /// Rows of the prompt in total: text tokens and soft tokens.
    pub prompt_tokens: u32,
    /// Rows of the prompt that were already in the KV cache.
    pub cached_tokens: u32,
    /// Soft tokens of sound among the prompt's rows; 25 per second of sound.
    pub audio_tokens: u32,
    /// Tokens generated, including the thought, without the end-of-turn token.
    pub output_tokens: u32,
    /// Of the tokens generated, those that the grammar forced.
    pub forced_tokens: u32,
    /// Of the tokens generated, those of the thought, which the answer does not show.
    pub thought_tokens: u32,
    /// From the request's arrival to its first batch or its first audio encoding.
    pub queue: Duration,
    /// Time the audio encoder worked for this request.
    pub encode: Duration,
    /// Time in batches that held prompt rows of this request.
    pub prefill: Duration,
    /// From the request's arrival to its first sampled token.
    pub first_token: Duration,
    /// From the first sampled token to the last.
    pub decode: Duration,
    /// From the request's arrival to its end.
    pub total: Duration,
    /// The sound of the request, if it has any.
    pub sound: Option<SoundStats>,
    /// From the last sample of speech to the first sampled token; only for spoken turns.
    pub speech_to_token: Option<Duration>,
    /// Whether the sound file is truncated or damaged, and only its readable part was heard.
    pub cut_short: bool,
    /// How sure the model was of what it wrote.
    pub confidence: Confidence,
    /// Why it ended.
    pub finish: Finish,
}

/// How sure the model was of the tokens it drew, those that a grammar forced left out: by the probabilities it gave them,
/// at temperature 1 and among the whole vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Confidence {
    /// Sum of the logarithms of the probabilities.
    sum: f64,
    /// The least of these logarithms.
    least: f64,
    drawn: u32,
}

impl Confidence {
    /// Adds the logarithm of a token's probability.
    pub(super) fn add(&mut self, log_probability: f32) {
        self.sum += f64::from(log_probability);
        self.least = self.least.min(log_probability.into());
        self.drawn += 1;
    }

    /// Geometric mean of the probabilities, 0 to 1; 1 if nothing was drawn.
    #[must_use]
    pub fn mean(&self) -> f64 {
        (self.sum / f64::from(self.drawn.max(1))).exp()
    }

    /// The least of the probabilities, 0 to 1; 1 if nothing was drawn.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.least.exp()
    }
}

/// Statistics of the sound in a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoundStats {
    /// Its length.
    pub length: Duration,
    /// Time for encoding and prefill until its end, as a ratio to its length. Below 1 the machine keeps up with the
    /// speaker.
    pub real_time_factor: f64,
    /// Length of the sound that was not yet in the KV cache when the request came: the machine's lag.
    pub backlog: Duration,
    /// The part of [`Stats::encode`] after the request came.
    pub end_encode: Duration,
    /// The part of [`Stats::prefill`] after the request came.
    pub end_prefill: Duration,
}

/// Snapshot of the engine's load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Requests being prefilled or decoded.
    pub active: u32,
    /// Requests waiting for a place.
    pub queued: u32,
    /// Turns whose utterance is being heard.
    pub turns: u32,
    /// Sound of those turns that is not yet in the KV cache. More than 500 ms means that the machine does not keep up.
    pub backlog: Duration,
    /// Cells of the KV cache that are in use or reserved, including those of the system prompt.
    pub cells_used: u32,
    /// Cells of the KV cache in total.
    pub cells_total: u32,
    /// Cells that hold the system prompt, shared by every request.
    pub prefix_cells: u32,
    /// Cells of the context of a long question; 0 if there is none.
    pub long_cells: u32,
    /// Requests finished since the model was loaded, including cancelled ones.
    pub finished: u64,
}

impl Health {
    /// Whether nothing is under way, waits, or is being heard.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.active == 0 && self.queued == 0 && self.turns == 0
    }
}
