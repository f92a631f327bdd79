//! Requests to the engine.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::tool_call::ToolCall;
use super::{Clip, Grammar};
use crate::config::{self, Fraction, Temperature};

/// Which of two waiting requests is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A spoken turn: a person in the room waits for the reply.
    Speech,
    /// A question that was typed, or asked by a program.
    Question,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Temperature; 0 is greedy and ignores the rest.
    pub temperature: Temperature,
    /// Keep this many of the likeliest tokens.
    pub top_k: u32,
    /// Keep the likeliest tokens of this total probability.
    pub top_p: Fraction,
    /// Seed of the draw.
    pub seed: u32,
}

impl Sampling {
    /// Always the likeliest token.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            temperature: Temperature::GREEDY,
            ..Self::new(&config::Answer::default())
        }
    }

    /// As configured, with a random seed.
    #[must_use]
    pub fn new(config: &config::Answer) -> Self {
        Self {
            temperature: config.temperature,
            top_k: config.top_k.get(),
            top_p: config.top_p,
            seed: random_seed(),
        }
    }
}

/// The standard library's hasher keys come from the system's randomness, which is all a seed needs.
fn random_seed() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// What the model is told before the conversation begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preamble {
    /// System prompt; empty: none.
    pub system: String,
    /// Tools the model may call, in the shape that chat templates expect. Their texts are tokenised like the
    /// template's own, control tokens included, so they must not hold anything typed or said.
    pub tools: Arc<[serde_json::Value]>,
}

impl From<&str> for Preamble {
    /// A system prompt and no tools.
    fn from(system: &str) -> Self {
        Self {
            system: system.into(),
            tools: Arc::default(),
        }
    }
}

/// One turn to be answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// System prompt and tools.
    pub preamble: Preamble,
    /// Sound the turn begins with.
    pub clip: Option<Arc<Clip>>,
    /// Text of the turn; may be empty when there is sound.
    pub text: String,
    /// Tool calls the model made after the turn, round by round. The answer goes on after them.
    pub called: Vec<Vec<ToolCall>>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Maximum tokens of the answer; at least 1.
    pub max_tokens: u32,
    /// Minimum tokens of the answer: no end of turn is drawn before.
    pub min_tokens: u32,
    /// Whether the model may think first. The thought is never part of the answer.
    pub thinking: bool,
    /// Constrains the answer. With a grammar, `min_tokens` is ignored, and nothing is thought.
    pub grammar: Option<Grammar>,
    /// When the last sample of speech was heard, if any was.
    pub heard: Option<Instant>,
}

impl Request {
    /// A question with the configured defaults.
    #[must_use]
    pub fn question(config: &config::Answer, text: String) -> Self {
        Self {
            preamble: config.system.as_str().into(),
            clip: None,
            text,
            called: Vec::new(),
            sampling: Sampling::new(config),
            max_tokens: config.max_tokens.get(),
            min_tokens: 0,
            thinking: false,
            grammar: None,
            heard: None,
        }
    }

    /// A reply to speech.
    #[must_use]
    pub fn reply(config: &config::Answer) -> Self {
        Self::question(config, String::new())
    }

    /// A transcript of speech. Greedy and without a system prompt, because the model was trained to transcribe
    /// that way.
    #[must_use]
    pub fn transcript(config: &config::Transcribe, language: &str) -> Self {
        let text = config.prompt.replace("{language}", language);
        Self {
            preamble: Preamble::default(),
            sampling: Sampling::greedy(),
            ..Self::question(&config::Answer::default(), text)
        }
    }

    /// The same request about `clip`.
    #[must_use]
    pub fn about(self, clip: Arc<Clip>) -> Self {
        Self {
            clip: Some(clip),
            ..self
        }
    }

    /// The same request about speech whose last sample was heard `at` that time.
    #[must_use]
    pub fn heard(self, at: Instant) -> Self {
        Self {
            heard: Some(at),
            ..self
        }
    }
}
