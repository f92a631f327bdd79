//! What is asked of the engine.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::{Clip, Grammar};
use crate::config::{self, Fraction, Temperature};

/// Who is served first when both wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody is standing in the room.
    Speech,
    /// Somebody typed, or a program asked.
    Question,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Temperature; 0 is greedy and ignores the rest.
    pub temperature: Temperature,
    /// Keep the k likeliest.
    pub top_k: u32,
    /// Keep the likeliest of this total probability.
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

    /// As configured, with a seed of its own.
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
    /// Tools it may call, in the shape that chat templates expect. Their texts count as the template's own,
    /// so they hold nothing that somebody could have typed or said.
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

/// A tool that the model called, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// What it was called with.
    pub arguments: BTreeMap<String, serde_json::Value>,
    /// What it said, or why it failed. Text, whatever is in it.
    pub result: Result<String, String>,
}

/// One turn to be answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// What comes before it.
    pub preamble: Preamble,
    /// Sound the turn begins with.
    pub clip: Option<Arc<Clip>>,
    /// Text of the turn; may be empty when there is sound.
    pub text: String,
    /// What the model called after that, round by round. Its answer goes on from there.
    pub called: Vec<Vec<ToolCall>>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Most tokens of the answer, from 1.
    pub max_tokens: u32,
    /// Fewest tokens of the answer: no end of turn is drawn before.
    pub min_tokens: u32,
    /// Whether the model may think first. The thought is never part of the answer.
    pub thinking: bool,
    /// What the answer must look like; with it `min_tokens` does not count, and nothing is thought.
    pub grammar: Option<Grammar>,
    /// When the last sample of speech was heard, if it was.
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

    /// What was said, answered.
    #[must_use]
    pub fn reply(config: &config::Answer) -> Self {
        Self::question(config, String::new())
    }

    /// What was said, written down. Greedy, without a system prompt, because that is what the model was
    /// trained to transcribe with.
    #[must_use]
    pub fn transcript(config: &config::Transcribe, language: &str) -> Self {
        let text = config.prompt.replace("{language}", language);
        Self {
            preamble: Preamble::default(),
            sampling: Sampling::greedy(),
            ..Self::question(&config::Answer::default(), text)
        }
    }

    /// The same about this sound.
    #[must_use]
    pub fn about(self, clip: Arc<Clip>) -> Self {
        Self {
            clip: Some(clip),
            ..self
        }
    }

    /// The same about speech whose last sample was heard then.
    #[must_use]
    pub fn heard(self, at: Instant) -> Self {
        Self {
            heard: Some(at),
            ..self
        }
    }
}
