//! A typed question and its answer, which the conversation it belongs to remembers as far as it was given.

use std::sync::Arc;
use std::time::SystemTime;

use super::acting::Acting;
use super::conversation::{Conversation, Exchange, TOKEN};
use super::conversations::UnderWay;
use crate::commands::Dialogue;
use crate::engine::{
    Answer, Engine, EngineError, Event, Piece, Place, Preamble, Request, Stats, ToolCall, Whole,
};

/// Tokens of calls and of the protocol in an exchange, as a guess.
const CALLS: usize = 64;

/// The answer to a typed question. Dropping it cancels the request; what was given of it until then is remembered.
#[derive(Debug)]
pub struct TypedAnswer {
    answer: Answer,
    acting: Option<Acting>,
    /// The end, where it was received before the words that come first.
    end: Option<Event>,
    memory: Option<Memory>,
    /// Exchanges of the conversation that had to be forgotten for it.
    pub forgotten: usize,
    /// Whether a command that it consists of was not carried out.
    pub is_undone: bool,
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
    /// Whether the question may give commands.
    acts: bool,
    called: Vec<ToolCall>,
    is_foreign: bool,
    answered: String,
}

/// Puts what was said before into `request`; returns how many exchanges had to be forgotten for it. Where commands may be
/// given, words of an unknown author are left out.
pub fn recall(
    engine: &Engine,
    request: &mut Request,
    conversation: &mut Conversation,
    acts: bool,
) -> usize {
    let asked = request.question.text().map_or(0, str::len) / TOKEN;
    let mut needed = asked.saturating_add(request.max_tokens as usize);
    if acts {
        // The declarations of commands.
        needed = needed.saturating_add(engine.preambles());
    }
    // Without a model nothing is known of the room.
    let room = engine.room(needed);
    let forgotten = room.map_or(0, |room| conversation.shorten(room));
    request.preamble.history = if acts {
        conversation.trusted_messages()
    } else {
        conversation.messages()
    };
    forgotten
}

/// Hands `request` over, with its place. It belongs to the conversation `under_way`, if there is one. Commands that the
/// answer consists of are carried out by `dialogue`, if there is one.
///
/// # Errors
/// Those of [`Engine::submit_at`].
pub async fn ask(
    engine: &Engine,
    place: Place,
    mut request: Request,
    under_way: Option<UnderWay>,
    dialogue: Option<Dialogue>,
) -> Result<TypedAnswer, EngineError> {
    let asked = request.question.text().unwrap_or_default().to_owned();
    let acts = dialogue.is_some();
    let mut forgotten = 0;
    let memory = under_way.map(|mut under_way| {
        let conversation = under_way.conversation();
        forgotten = recall(engine, &mut request, conversation, acts);
        Memory {
            engine: engine.clone(),
            before: under_way.conversation().tokens(),
            under_way,
            given: 0,
            preamble: request.preamble.clone(),
            owner: request.owner.clone(),
            asked,
            acts,
            called: Vec::new(),
            is_foreign: false,
            answered: String::new(),
        }
    });
    let acting = dialogue.map(|it| Acting::new(engine.clone(), it, request.clone()));
    Ok(TypedAnswer {
        answer: engine.submit_at(place, request).await?,
        acting,
        end: None,
        memory,
        forgotten,
        is_undone: false,
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
        loop {
            let event = match self.end.take() {
                Some(end) => end,
                None => self.answer.next().await,
            };
            let Some(acting) = &mut self.acting else {
                return self.remember(event);
            };
            match event {
                Event::Text(piece) => {
                    if let Some(piece) = acting.take(piece) {
                        return self.remember(Event::Text(piece));
                    }
                }
                Event::Done(stats) if acting.holds() => {
                    self.end = Some(Event::Done(stats));
                    let told = acting.carry_out().await;
                    self.is_undone = !told.is_done;
                    let text = told.text.clone();
                    if let Some(memory) = &mut self.memory {
                        (memory.called, memory.is_foreign) = (told.called, told.is_foreign);
                    }
                    if !text.is_empty() {
                        let tokens = Vec::new();
                        return self.remember(Event::Text(Piece { text, tokens }));
                    }
                }
                event => return self.remember(event),
            }
        }
    }

    fn remember(&mut self, event: Event) -> Event {
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
    pub async fn text(&mut self) -> Result<(String, Stats), EngineError> {
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
            acts,
            called,
            is_foreign,
            answered,
        } = self;
        if answered.is_empty() {
            return;
        }
        let tokens = match stats {
            // The prompt has declarations too, which are no part of the exchange.
            _ if acts => (asked.len() + answered.len()) / TOKEN + CALLS,
            Some(stats) => {
                let all = stats.prompt_tokens + stats.output_tokens;
                (all as usize).saturating_sub(before)
            }
            None => asked.len() / TOKEN + given,
        };
        let exchange = Exchange {
            called,
            is_personal: acts,
            is_foreign,
            ..Exchange::in_words(asked, answered, tokens)
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
