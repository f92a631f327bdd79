//! A typed question and its answer, which the conversation it belongs to remembers as far as it was given.

use std::sync::Arc;
use std::time::SystemTime;

use super::conversation::{Conversation, Exchange};
use super::conversations::UnderWay;
use crate::engine::{Answer, Engine, EngineError, Event, Place, Preamble, Request, Stats, Whole};

/// Least bytes of a token, as a guess that is seldom too few tokens.
const TOKEN: usize = 2;

/// The answer to a typed question. Dropping it cancels the request; what was given of it until then is remembered.
#[derive(Debug)]
pub struct TypedAnswer {
    answer: Answer,
    memory: Option<Memory>,
    /// Exchanges of the conversation that had to be forgotten for it.
    pub forgotten: usize,
}

/// What is to be remembered.
#[derive(Debug)]
struct Memory {
    engine: Engine,
    under_way: UnderWay,
    /// Tokens of what was said before.
    before: usize,
    /// Tokens of the answer so far.
    given: usize,
    preamble: Preamble,
    owner: Option<Arc<str>>,
    asked: String,
    answered: String,
}

/// Puts what was said before into `request`; returns how many exchanges had to be forgotten for it.
pub fn recall(engine: &Engine, request: &mut Request, conversation: &mut Conversation) -> usize {
    let asked = request.question.text().map_or(0, str::len) / TOKEN;
    let needed = asked.saturating_add(request.max_tokens as usize);
    // Without a model nothing is known of the room.
    let room = engine.room(needed);
    let forgotten = room.map_or(0, |room| conversation.shorten(room));
    request.preamble.history = conversation.messages();
    forgotten
}

/// Hands `request` over, with its place. It belongs to the conversation `under_way`, if there is one.
///
/// # Errors
/// Those of [`Engine::submit_at`].
pub async fn ask(
    engine: &Engine,
    place: Place,
    mut request: Request,
    under_way: Option<UnderWay>,
) -> Result<TypedAnswer, EngineError> {
    let Some(mut under_way) = under_way else {
        return Ok(TypedAnswer {
            answer: engine.submit_at(place, request).await?,
            memory: None,
            forgotten: 0,
        });
    };
    let forgotten = recall(engine, &mut request, under_way.conversation());
    let before = under_way.conversation().tokens();
    let memory = Memory {
        engine: engine.clone(),
        under_way,
        before,
        given: 0,
        preamble: request.preamble.clone(),
        owner: request.owner.clone(),
        asked: request.question.text().unwrap_or_default().to_owned(),
        answered: String::new(),
    };
    Ok(TypedAnswer {
        answer: engine.submit_at(place, request).await?,
        memory: Some(memory),
        forgotten,
    })
}

impl TypedAnswer {
    /// Number of the request.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.answer.id
    }

    /// The next event. [`Event::Done`] or [`Event::Failed`] is the last one.
    pub async fn next(&mut self) -> Event {
        let event = self.answer.next().await;
        match (&event, &mut self.memory) {
            (Event::Text(piece), Some(memory)) => {
                memory.answered.push_str(&piece.text);
                memory.given += piece.tokens.len();
            }
            (Event::Done(stats), memory) => {
                if let Some(memory) = memory.take() {
                    memory.keep(Some(stats));
                }
            }
            _ => {}
        }
        event
    }

    /// Waits for the end and returns the whole text with its statistics.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn text(mut self) -> Result<(String, Stats), EngineError> {
        let mut whole = Whole::default();
        loop {
            if let Some(end) = whole.take(self.next().await) {
                return end;
            }
        }
    }
}

impl Drop for TypedAnswer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            memory.keep(None);
        }
    }
}

impl Memory {
    /// Remembers the exchange, if anything was answered.
    fn keep(self, stats: Option<&Stats>) {
        let Self {
            engine,
            under_way,
            before,
            given,
            preamble,
            owner,
            asked,
            answered,
        } = self;
        if answered.is_empty() {
            return;
        }
        let tokens = match stats {
            Some(stats) => {
                let all = stats.prompt_tokens + stats.output_tokens;
                (all as usize).saturating_sub(before)
            }
            None => asked.len() / TOKEN + given,
        };
        let exchange = Exchange {
            asked,
            answered,
            tokens,
        };
        under_way.end(exchange, SystemTime::now(), |history| {
            let preamble = Preamble {
                history,
                ..preamble
            };
            let owner = owner?;
            let reading = tokio::spawn(async move {
                // What cannot be read now is read with the next question.
                let _ = engine.read_ahead(preamble, owner).await;
            });
            Some(reading.abort_handle())
        });
    }
}
