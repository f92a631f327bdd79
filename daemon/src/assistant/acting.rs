//! A typed question whose answer may consist of commands: these are carried out, and the person is told in words.

use crate::commands::{Dialogue, Told, may_be_call};
use crate::engine::{Engine, EngineError, Piece, Request};

/// The answer to such a question, as far as it has come.
#[derive(Debug)]
pub struct Acting {
    engine: Engine,
    dialogue: Dialogue,
    /// The request that is answered.
    request: Request,
    /// What came of the answer, as long as it may be commands.
    held: Option<Piece>,
}

impl Acting {
    /// The beginning of an answer to `request`.
    pub fn new(engine: Engine, dialogue: Dialogue, request: Request) -> Self {
        let held = Piece {
            text: String::new(),
            tokens: Vec::new(),
        };
        Self {
            engine,
            dialogue,
            request,
            held: Some(held),
        }
    }

    /// Takes a piece of the answer; returns all that is certainly no command and was not returned before.
    pub fn take(&mut self, piece: Piece) -> Option<Piece> {
        let Some(mut held) = self.held.take() else {
            return Some(piece);
        };
        held.text += &piece.text;
        held.tokens.extend(piece.tokens);
        if may_be_call(&held.text) {
            self.held = Some(held);
            return None;
        }
        Some(held)
    }

    /// Whether the answer so far may be commands.
    pub fn holds(&self) -> bool {
        self.held.as_ref().is_some_and(|it| !it.text.is_empty())
    }

    /// Carries out the commands that the whole answer consists of, and tells what became of them.
    pub async fn carry_out(&mut self) -> Told {
        let held = self.held.take().map(|it| it.text);
        let mut answer = Ok(held.unwrap_or_default());
        loop {
            match self.dialogue.follow(answer).await {
                Ok(None) => answer = self.ask_again().await,
                Ok(Some(reading)) => return self.dialogue.force().catalogue.tell(reading),
                Err(error) => {
                    return Told {
                        text: error.to_string(),
                        called: Vec::new(),
                        is_done: false,
                        is_foreign: false,
                    };
                }
            }
        }
    }

    /// Asks again, with the results of commands.
    async fn ask_again(&self) -> Result<String, EngineError> {
        let question = self.request.question.clone();
        let request = Request {
            preamble: self.request.preamble.clone(),
            max_tokens: self.request.max_tokens,
            ..self.dialogue.request(question)
        };
        let answer = self.engine.submit(request).await?;
        answer.text().await.map(|(text, _)| text)
    }
}
