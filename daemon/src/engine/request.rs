//! Requests to the engine.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::tool_call::ToolCall;
use super::{Clip, Form};
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

/// The conversation before the question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preamble {
    /// The operator's text.
    pub system: Option<String>,
    /// Tools the model may call, in the shape that chat templates expect. Their texts are tokenised like the
    /// template's own, control tokens included, so they must not hold anything typed or said.
    pub tools: Arc<[serde_json::Value]>,
    /// Earlier messages, the oldest first.
    pub history: Vec<Message>,
    /// The date and the time, beside the question: before its sound, because nothing that is read after the last sample may
    /// be long, and after its text. A model that takes bare questions alone is not told.
    pub now: Option<String>,
}

/// An earlier message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A person's.
    User(String),
    /// The model's.
    Assistant {
        /// The tools that it called first, round by round.
        called: Vec<Vec<ToolCall>>,
        /// Its words.
        text: String,
    },
}

impl Message {
    /// The model's words.
    #[must_use]
    pub fn assistant(text: String) -> Self {
        Self::Assistant {
            called: Vec::new(),
            text,
        }
    }

    /// Its words.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::User(text) | Self::Assistant { text, .. } => text,
        }
    }

    /// Bytes of all of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let called = match self {
            Self::User(_) => 0,
            Self::Assistant { called, .. } => called.iter().flatten().map(ToolCall::bytes).sum(),
        };
        self.text().len() + called
    }
}

impl From<&str> for Preamble {
    /// A system text, unless it is blank, and nothing else.
    fn from(system: &str) -> Self {
        let is_blank = system.trim().is_empty();
        Self {
            system: (!is_blank).then(|| system.to_owned()),
            ..Self::default()
        }
    }
}

/// The question of a request: the message to be answered.
#[derive(Debug, Clone)]
pub enum Question {
    /// A text.
    Text(String),
    /// A clip, and the text after it.
    Clip(Arc<Clip>, Option<String>),
    /// The sound of the turn that is asked about, and the text after it.
    Heard(Option<String>),
}

impl Question {
    /// Its text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Clip(_, text) | Self::Heard(text) => text.as_deref(),
        }
    }

    fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Clip(_, text) | Self::Heard(text) => text,
        }
    }
}

/// One question to be answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// The conversation before it.
    pub preamble: Preamble,
    /// The question.
    pub question: Question,
    /// Tool calls the model made after the question, round by round. The answer goes on after them.
    pub called: Vec<Vec<ToolCall>>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Maximum tokens of the answer; at least 1.
    pub max_tokens: u32,
    /// Minimum tokens of the answer: no end of turn is drawn before.
    pub min_tokens: u32,
    /// Whether the model may think first. The thought is never part of the answer.
    pub thinking: bool,
    /// Whether the answer is text alone: no token of the protocol is drawn, other than the end of the turn and those of
    /// a thought. A form says itself which are.
    pub text_only: bool,
    /// The form that the answer must have. With one, `min_tokens` is ignored, and nothing is thought.
    pub form: Option<Form>,
    /// When the last sample of speech was heard, if any was.
    pub heard: Option<Instant>,
    /// The user who asks. The rows of the prompt are then kept, as long as there is room, for this user's next questions.
    pub owner: Option<Arc<str>>,
}

impl Request {
    /// A question with the configured defaults.
    #[must_use]
    pub fn new(config: &config::Answer, question: Question) -> Self {
        Self {
            preamble: config.system.as_str().into(),
            question,
            called: Vec::new(),
            sampling: Sampling::new(config),
            max_tokens: config.max_tokens.get(),
            min_tokens: 0,
            thinking: false,
            text_only: true,
            form: None,
            heard: None,
            owner: None,
        }
    }

    /// A typed question.
    #[must_use]
    pub fn question(config: &config::Answer, text: String) -> Self {
        Self::new(config, Question::Text(text))
    }

    /// A reply to speech.
    #[must_use]
    pub fn reply(config: &config::Answer) -> Self {
        Self::new(config, Question::Heard(None))
    }

    /// A transcript of speech in `language`. Greedy and without a system prompt, because the model was trained to transcribe
    /// that way.
    #[must_use]
    pub fn transcript(config: &config::Transcribe, language: &str) -> Self {
        let question = Question::Heard(Some(config.prompt_for(language)));
        Self {
            preamble: Preamble::default(),
            sampling: Sampling::greedy(),
            ..Self::new(&config::Answer::default(), question)
        }
    }

    /// The same request about `clip`.
    #[must_use]
    pub fn about(self, clip: Arc<Clip>) -> Self {
        Self {
            question: Question::Clip(clip, self.question.into_text()),
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
