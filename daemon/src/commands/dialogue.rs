//! An utterance from what the model first makes of it to what the person is told: commands are carried out, and what
//! those that answer found goes back to the model, which says it in its own words.
//!
//! Whoever wrote what a command finds may want something of us. So that is text and nothing else in the prompt, and
//! once the model has read it, it can do nothing any more: it may call other commands that answer, and in the last
//! round none ([`Scope`]).

use std::sync::Arc;

use gemmad_api::InvocationStatus;

use super::force::Scope;
use super::plain::is_plain;
use super::{Arrival, CommandError, Commands, Force, Invocation, Origin, Outcome, Reading};
use crate::engine::{EngineError, Request, ToolCall};

/// Most characters of what a command found that the model reads.
const MOST_READ: usize = 1000;

/// What the model reads of a command that does not answer.
const DONE: &str = "ok";

/// An utterance that is being answered.
#[derive(Debug)]
pub struct Dialogue {
    commands: Commands,
    force: Arc<Force>,
    origin: Origin,
    arrival: Arrival,
    dry_run: bool,
    /// How many rounds there may be after the first.
    most: usize,
    /// What was called and what came of it, round by round.
    called: Vec<Vec<ToolCall>>,
    invocations: Vec<Invocation>,
}

impl Dialogue {
    pub(super) fn new(
        commands: Commands,
        force: Arc<Force>,
        origin: Origin,
        arrival: Arrival,
        dry_run: bool,
    ) -> Self {
        let most = commands.settings.current().commands.rounds.get() as usize;
        Self {
            commands,
            force,
            origin,
            arrival,
            dry_run,
            most,
            called: Vec::new(),
            invocations: Vec::new(),
        }
    }

    /// Makes out what the model wrote, and carries it out unless it is to be a dry run. Returns when all is done,
    /// with what came of the utterance; `None`: the model is to be asked again ([`Self::request`]). Dropping this ends
    /// nothing that has begun.
    ///
    /// # Errors
    /// When there is no answer, or it is not in the protocol; nothing is done then. Once something was done, that is
    /// what came of the utterance, whatever becomes of the words about it.
    pub async fn follow(
        &mut self,
        answer: Result<String, EngineError>,
    ) -> Result<Option<Reading>, CommandError> {
        match self.round(answer).await {
            Err(error) if !self.called.is_empty() => {
                log::warn!("nothing can be said about what was done: {error}");
                Ok(Some(self.end(String::new())))
            }
            reading => reading,
        }
    }

    /// `request`, with what was called so far, and held to what may be called now.
    ///
    /// # Errors
    /// When there is no model, or the catalogue is too large for a grammar.
    pub async fn request(&self, request: Request) -> Result<Request, EngineError> {
        let grammar = self.force.grammar(&self.commands.engine, self.scope());
        Ok(Request {
            called: self.called.clone(),
            grammar: Some(grammar.await?),
            ..request
        })
    }

    async fn round(
        &mut self,
        answer: Result<String, EngineError>,
    ) -> Result<Option<Reading>, CommandError> {
        let answer = answer?;
        let force = Arc::clone(&self.force);
        let outcome = force.catalogue(self.scope()).read(&answer);
        let outcome = outcome.inspect_err(|unfit| {
            if self.commands.settings.current().log.content {
                log::warn!("{}", unfit.about(&answer));
            }
        })?;
        let is_first = self.called.is_empty();
        let calls = match outcome {
            Outcome::Question(text) if is_first => return Ok(Some(Reading::Question(text))),
            Outcome::Words(text) if is_first => return Ok(Some(Reading::Words(text))),
            Outcome::Question(text) | Outcome::Words(text) => return Ok(Some(self.end(text))),
            Outcome::Commands(calls) => calls,
        };
        let executor = &self.commands.executor;
        let invocations = if self.dry_run {
            executor.rehearse(calls)
        } else {
            let Self {
                origin, arrival, ..
            } = self;
            executor.carry_out(calls, origin, *arrival).await?
        };
        let has_answered = invocations.iter().any(|it| self.has_answered(it));
        let asks = has_answered && self.called.len() < self.most;
        if asks {
            let called = invocations.iter().map(|it| self.told(it)).collect();
            self.called.push(called);
        }
        self.invocations.extend(invocations);
        Ok((!asks).then(|| self.end(String::new())))
    }

    /// What may be called now.
    fn scope(&self) -> Scope {
        match self.called.len() {
            0 => Scope::All,
            rounds if rounds < self.most => Scope::Answering,
            _ => Scope::Nothing,
        }
    }

    fn end(&mut self, words: String) -> Reading {
        Reading::Commands {
            invocations: std::mem::take(&mut self.invocations),
            words,
        }
    }

    /// Whether there is something to be told that this command found, or could not find.
    fn has_answered(&self, invocation: &Invocation) -> bool {
        let has_run = matches!(
            invocation.status,
            InvocationStatus::Done | InvocationStatus::Failed | InvocationStatus::TimedOut
        );
        has_run && self.answers(invocation)
    }

    fn answers(&self, invocation: &Invocation) -> bool {
        let command = self.force.catalogue.command(&invocation.call);
        command.is_some_and(|command| command.answers)
    }

    /// What the model is told of it.
    fn told(&self, invocation: &Invocation) -> ToolCall {
        let Invocation {
            call,
            status,
            result,
            ..
        } = invocation;
        let result = match status {
            InvocationStatus::Done if self.answers(invocation) => Ok(readable(result)),
            InvocationStatus::Done => Ok(DONE.to_owned()),
            status if result.is_empty() => Err(status.as_str().to_owned()),
            _ => Err(readable(result)),
        };
        ToolCall {
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            result,
        }
    }
}

/// What a command found as one line that is not too long.
fn readable(result: &str) -> String {
    let plain = result
        .chars()
        .map(|it| if it == '<' || is_plain(it) { it } else { ' ' });
    let plain: String = plain.collect();
    let words: Vec<_> = plain.split_whitespace().collect();
    words.join(" ").chars().take(MOST_READ).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_as_one_line_that_is_not_too_long() {
        assert_eq!(
            readable(" 12\t<|turn>\n\u{1b}[2J\u{F0001} 5 \0"),
            "12 <|turn> [2J 5"
        );
        assert_eq!(readable(&"é".repeat(5000)).chars().count(), MOST_READ);
    }
}
