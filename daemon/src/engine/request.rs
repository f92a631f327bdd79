//! What is asked of the engine, and what comes back.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use gemmad_api::Stats;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Clip, EngineError, Grammar, Piece};
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

/// What an answer yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The next piece of text.
    Text(Piece),
    /// The end.
    Done(Stats),
    /// It failed; what came before stands.
    Failed(EngineError),
}

/// An answer as it grows. Dropping it cancels the request.
#[derive(Debug)]
pub struct Answer {
    /// Number of the request.
    pub id: u64,
    events: UnboundedReceiver<Event>,
    /// Events that were looked at before anybody asked for them.
    foreseen: VecDeque<Event>,
}

impl Answer {
    pub(super) fn new(id: u64, events: UnboundedReceiver<Event>) -> Self {
        Self {
            id,
            events,
            foreseen: VecDeque::new(),
        }
    }

    /// The next event. After [`Event::Done`] or [`Event::Failed`] there is none worth waiting for.
    pub async fn next(&mut self) -> Event {
        match self.foreseen.pop_front() {
            Some(event) => event,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Event {
        // A channel closed without an end means that the engine thread is gone.
        let event = self.events.recv().await;
        event.unwrap_or(Event::Failed(EngineError::Stopping))
    }

    /// Waits for the end without taking anything: the whole text, or nothing of one that fails. May be
    /// given up and begun again.
    pub async fn foresee(&mut self) -> Option<String> {
        loop {
            match self.foreseen.back() {
                Some(Event::Done(_)) => {
                    let pieces = self.foreseen.iter().filter_map(|event| match event {
                        Event::Text(piece) => Some(piece.text.as_str()),
                        Event::Done(_) | Event::Failed(_) => None,
                    });
                    return Some(pieces.collect());
                }
                Some(Event::Failed(_)) => return None,
                _ => {
                    let event = self.receive().await;
                    self.foreseen.push_back(event);
                }
            }
        }
    }

    /// Waits for the end; the whole text and its statistics.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn text(self) -> Result<(String, Stats), EngineError> {
        self.follow(|_| {}).await
    }

    /// The same, and shows `watch` the text so far whenever it has grown.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn follow(
        mut self,
        mut watch: impl FnMut(&str),
    ) -> Result<(String, Stats), EngineError> {
        let mut text = String::new();
        loop {
            match self.next().await {
                Event::Text(piece) => {
                    text.push_str(&piece.text);
                    watch(&text);
                }
                Event::Done(stats) => return Ok((text, stats)),
                // What there is of an answer that ought to have been more is told with the reason.
                Event::Failed(EngineError::Incomplete { .. }) => {
                    return Err(EngineError::Incomplete { text });
                }
                Event::Failed(error) => return Err(error),
            }
        }
    }
}
