//! The words of an utterance that goes on, read now and then.
//!
//! Each reading is a fork of the turn, written word by word, so it costs more the longer the utterance is. It is made only
//! while the engine keeps up with the sound, and is dropped for the answer.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::engine::{EngineError, Request, Turn};

/// Backlog of the engine from which nothing is read beside the sound.
const BEHIND: Duration = Duration::from_millis(200);

type Reading<'a> = Pin<Box<dyn Future<Output = Result<String, EngineError>> + Send + 'a>>;

/// The readings of one utterance.
pub struct Partial<'a> {
    config: &'a Config,
    /// When the next may begin.
    due: Instant,
    under_way: Option<Reading<'a>>,
    /// The words that were read last.
    text: String,
}

impl<'a> Partial<'a> {
    pub fn new(config: &'a Config) -> Self {
        Self {
            config,
            due: Instant::now() + every(config),
            under_way: None,
            text: String::new(),
        }
    }

    /// Drops the reading under way.
    pub fn stop(&mut self) {
        self.under_way = None;
    }

    /// The words so far, once they are others than the last time. Without an interval in the configuration it waits for
    /// ever. Cancel safe.
    pub async fn next(&mut self, turn: &'a Turn, may: impl Fn() -> bool) -> String {
        if self.config.voice.partial_ms.get() == 0 {
            return std::future::pending().await;
        }
        loop {
            if let Some(reading) = &mut self.under_way {
                let text = reading.await;
                self.under_way = None;
                self.due = Instant::now() + every(self.config);
                if let Ok(text) = text
                    && !text.trim().is_empty()
                    && text != self.text
                {
                    self.text.clone_from(&text);
                    return text;
                }
            }
            sleep_until(self.due).await;
            if turn.backlog() < BEHIND && may() {
                self.under_way = Some(Box::pin(read(self.config, turn)));
            } else {
                self.due = Instant::now() + every(self.config);
            }
        }
    }
}

fn every(config: &Config) -> Duration {
    Duration::from_millis(config.voice.partial_ms.get().into())
}

async fn read(config: &Config, turn: &Turn) -> Result<String, EngineError> {
    let request = Request::transcript(&config.transcribe, &config.transcribe.language);
    let mut answers = turn.ask([request]).await?;
    let answer = answers.pop().ok_or(EngineError::Stopping)?;
    answer.text().await.map(|(text, _)| text)
}
