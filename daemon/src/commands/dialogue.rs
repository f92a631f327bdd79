//! An utterance or a request from the model's first answer to the reply: commands are carried out, and the results of
//! those that answer go back to the model, which words the reply.
//!
//! The text that a command finds may be an attack on the model (prompt injection). So it is plain text in the prompt,
//! and once the model has read it, it can change nothing any more: it may only call commands that answer, and in the
//! last round none ([`Scope`]).

use std::sync::Arc;

use super::catalogue::DONE;
use super::evidence::Evidence;
use super::executor::Executor;
use super::force::Scope;
use super::plain::is_plain;
use super::{Arrival, CommandError, Force, Invocation, Origin, Outcome, Reading, Role, Status};
use crate::config::Config;
use crate::engine::{EngineError, Question, Request, ToolCall};

/// Most characters of a command's result that the model reads.
const MOST_READ: usize = 1000;

/// An utterance that is being answered.
#[derive(Debug)]
pub struct Dialogue {
    config: Arc<Config>,
    executor: Arc<Executor>,
    force: Arc<Force>,
    origin: Origin,
    arrival: Arrival,
    dry_run: bool,
    evidence: Evidence,
    /// Most rounds after the first.
    most: usize,
    /// Calls and their results, by round.
    called: Vec<Vec<ToolCall>>,
    invocations: Vec<Invocation>,
}

impl Dialogue {
    pub(super) fn new(
        config: Arc<Config>,
        executor: Arc<Executor>,
        force: Arc<Force>,
        origin: Origin,
        arrival: Arrival,
        dry_run: bool,
    ) -> Self {
        let most = config.commands.rounds.get() as usize;
        Self {
            config,
            executor,
            force,
            origin,
            arrival,
            dry_run,
            evidence: Evidence::Certain,
            most,
            called: Vec::new(),
            invocations: Vec::new(),
        }
    }

    /// The catalogue that it follows.
    #[must_use]
    pub fn force(&self) -> &Force {
        &self.force
    }

    /// The commands of the next answer may have been misheard: they wait to be confirmed.
    pub fn doubt(&mut self) {
        self.evidence = Evidence::Doubtful;
    }

    /// Reads the model's answer, and carries out its commands unless this is a dry run. Returns when all is done, with
    /// the outcome; `None`: the model is to be asked again ([`Self::request`]). Dropping the future does not end
    /// spoken commands that have begun; it ends written ones.
    ///
    /// # Errors
    /// When there is no answer, or it is not in the protocol; then nothing is done. After the first round such a
    /// failure is only logged: the commands that were carried out are the outcome, without words about them.
    pub async fn follow(
        &mut self,
        answer: Result<String, EngineError>,
    ) -> Result<Option<Reading>, CommandError> {
        match self.round(answer).await {
            Err(error) if !self.called.is_empty() => {
                log::warn!(
                    "the commands were carried out, but the words about them failed: {error}"
                );
                Ok(Some(self.end(String::new())))
            }
            reading => reading,
        }
    }

    /// The request about this question after the calls so far, whose answer may call the commands of this round.
    #[must_use]
    pub fn request(&self, question: Question) -> Request {
        let answer = &self.config.answer;
        let owner = match &self.origin {
            Origin::Text { user } => Some(user.as_str().into()),
            Origin::Voice { .. } | Origin::Daemon => None,
        };
        Request {
            called: self.called.clone(),
            owner,
            ..self.force.request(answer, question, self.scope())
        }
    }

    async fn round(
        &mut self,
        answer: Result<String, EngineError>,
    ) -> Result<Option<Reading>, CommandError> {
        let answer = answer?;
        let force = Arc::clone(&self.force);
        let outcome = force.catalogue(self.scope()).read(&answer);
        let outcome = outcome.inspect_err(|unfit| {
            if self.config.log.content {
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
        let executor = &self.executor;
        let invocations = if self.dry_run {
            executor.rehearse(calls)
        } else {
            let Self {
                origin,
                arrival,
                evidence,
                ..
            } = self;
            executor
                .carry_out(calls, origin, *arrival, *evidence)
                .await?
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

    /// The commands that may be called in this round.
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

    /// Whether this command answers and has run, well or not, so that the model has a result to read.
    fn has_answered(&self, invocation: &Invocation) -> bool {
        let has_run = matches!(
            invocation.status,
            Status::Done | Status::Failed | Status::TimedOut
        );
        has_run && self.answers(invocation)
    }

    fn answers(&self, invocation: &Invocation) -> bool {
        let command = self.force.catalogue.command(&invocation.call);
        command.is_some_and(|command| command.role == Role::Answers)
    }

    /// The call and its result, as the model reads them.
    fn told(&self, invocation: &Invocation) -> ToolCall {
        let Invocation {
            call,
            status,
            result,
            ..
        } = invocation;
        let result = match status {
            Status::Done if self.answers(invocation) => Ok(readable(result)),
            Status::Done => Ok(DONE.to_owned()),
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

/// A result as one line of at most [`MOST_READ`] characters.
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
