//! A conversation: whose it is, and what was asked and answered so far.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use crate::engine::{Message, ToolCall};

/// Longest conversation, in bytes of text: half of what a request may have. One that is longer loses its oldest exchanges.
const LONGEST: usize = 1 << 19;

/// Bytes of text in a token, as a guess that is seldom too many. A Chinese character has three and is a token, a word of a
/// European language has more.
pub const TOKEN: usize = 2;

/// Stands for words of an unknown author.
const FOUND: &str = "I said what I found.";

/// Longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// Why there is no such conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    /// None is wanted.
    #[error(
        "[conversation] most is 0, so nothing is remembered; raise it, or leave the conversation out"
    )]
    Off,
    /// The name is none.
    #[error(
        "the name of a conversation is 1 to {LONGEST_NAME} bytes of visible text on one line, without spaces around it"
    )]
    Name,
    /// It is being answered.
    #[error(
        "the conversation {0:?} is being answered already; wait for the answer, or take another name"
    )]
    UnderWay(String),
    /// The user has no such conversation.
    #[error("you have no conversation {0:?}; `gemmactl conversations` lists yours")]
    Unknown(String),
}

/// A conversation's user and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The number of the user.
    pub user: u32,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of the conversation `name` of `user`.
    ///
    /// # Errors
    /// [`ConversationError::Name`].
    pub fn new(user: u32, name: &str) -> Result<Self, ConversationError> {
        let is_name = (1..=LONGEST_NAME).contains(&name.len())
            && name.trim() == name
            && gemmad_text::check(name).is_ok();
        is_name
            .then(|| Self {
                user,
                name: name.into(),
            })
            .ok_or(ConversationError::Name)
    }
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The question.
    pub asked: String,
    /// The tools that the model called for the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub called: Vec<ToolCall>,
    /// Whether the question is a person's own words: it was spoken, or asked as something that may give commands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_personal: bool,
    /// Whether the answer has words of an unknown author: those that a tool found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_foreign: bool,
    /// The answer, as far as it was given.
    pub answered: String,
    /// Tokens that both take in a prompt, with everything of the protocol around them.
    pub tokens: usize,
}

impl Exchange {
    /// A question and its answer in words.
    pub fn in_words(asked: String, answered: String, tokens: usize) -> Self {
        Self {
            asked,
            called: Vec::new(),
            is_personal: false,
            is_foreign: false,
            answered,
            tokens,
        }
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        let called: usize = self.called.iter().map(ToolCall::bytes).sum();
        self.asked.len() + called + self.answered.len()
    }

    /// Its messages; `foreign` stands for words of an unknown author, if they are to be left out.
    pub fn messages(&self, foreign: Option<&str>) -> [Message; 2] {
        let Self {
            asked,
            called,
            is_foreign,
            answered,
            ..
        } = self;
        let text = foreign.filter(|_| *is_foreign).unwrap_or(answered);
        let called = if called.is_empty() {
            Vec::new()
        } else {
            vec![called.clone()]
        };
        let text = text.to_owned();
        [
            Message::User(asked.clone()),
            Message::Assistant { called, text },
        ]
    }
}

/// A conversation, the oldest exchange first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conversation(VecDeque<Exchange>);

impl Conversation {
    /// Its messages, the oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.0.iter().flat_map(|it| it.messages(None)).collect()
    }

    /// The same without words of an unknown author. Text that was typed or piped in without leave to give commands is such.
    #[must_use]
    pub fn trusted_messages(&self) -> Vec<Message> {
        let all = self.0.iter().filter(|it| it.is_personal);
        all.flat_map(|it| it.messages(Some(FOUND))).collect()
    }

    /// Its exchanges, the oldest first.
    #[must_use]
    pub fn exchanges(&self) -> impl ExactSizeIterator<Item = &Exchange> {
        self.0.iter()
    }

    /// Tokens of all exchanges.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.0.iter().map(|it| it.tokens).sum()
    }

    /// Bytes of all texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Exchange::bytes).sum()
    }

    /// The same with another exchange. The oldest go, if it all gets too long to be kept.
    #[must_use]
    pub fn with(mut self, exchange: Exchange) -> Self {
        self.0.push_back(exchange);
        while self.bytes() > LONGEST && self.0.len() > 1 {
            self.0.pop_front();
        }
        self
    }

    /// Whether an answer has words of an unknown author.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.0.iter().any(|it| it.is_foreign)
    }

    /// Forgets the oldest exchanges if there are more than `room` tokens. Then half of the room is freed, because all that
    /// stays has to be read again, at other positions: so that happens seldom. Returns how many were forgotten.
    pub fn shorten(&mut self, room: usize) -> usize {
        let before = self.0.len();
        if self.tokens() > room {
            while self.tokens() > room / 2 && self.0.pop_front().is_some() {}
        }
        before - self.0.len()
    }
}

/// A conversation and when it was used.
#[derive(Debug, Clone)]
pub struct Held {
    pub conversation: Conversation,
    pub used: SystemTime,
    /// Reads it ahead of the next question.
    pub reading: Option<AbortHandle>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(number: usize, tokens: usize) -> Exchange {
        let asked = format!("question {number}");
        Exchange::in_words(asked, format!("answer {number}"), tokens)
    }

    #[test]
    fn messages_are_those_of_the_exchanges_in_order() {
        let mut conversation = Conversation::default();
        for number in 1..=2 {
            conversation = conversation.with(exchange(number, 10));
        }
        let messages = conversation.messages();
        let texts: Vec<_> = messages.iter().map(Message::text).collect();
        assert_eq!(texts, ["question 1", "answer 1", "question 2", "answer 2"]);
    }

    #[test]
    fn the_oldest_exchanges_go_as_a_whole_and_seldom() {
        let mut conversation = Conversation::default();
        let mut forgotten = Vec::new();
        for number in 0..30 {
            forgotten.push(conversation.shorten(100));
            assert!(conversation.tokens() <= 100);
            conversation = conversation.with(exchange(number, 10));
        }
        let times: Vec<_> = forgotten.iter().filter(|it| **it > 0).collect();
        assert_eq!(times, [&6; 4], "{forgotten:?}");
        let last = conversation.exchanges().last().unwrap();
        assert_eq!(last.asked, "question 29");
    }

    #[test]
    fn a_question_that_fills_the_room_alone_is_forgotten_too() {
        let mut conversation = Conversation::default();
        conversation = conversation.with(exchange(1, 500));
        assert_eq!(conversation.shorten(100), 1);
        assert_eq!(conversation.shorten(0), 0);
    }

    #[test]
    fn a_conversation_has_a_longest_text() {
        let mut conversation = Conversation::default();
        for _ in 0..3 {
            let asked = "x".repeat(LONGEST / 2);
            conversation = conversation.with(Exchange {
                asked,
                ..exchange(1, 1)
            });
        }
        assert_eq!(conversation.exchanges().len(), 1);
        assert!(conversation.bytes() <= LONGEST);
    }

    #[test]
    fn a_name_is_visible_text() {
        for name in ["a", "Über 9000 Dinge", "../../etc"] {
            assert!(Key::new(1, name).is_ok(), "{name}");
        }
        for name in ["", " a", "a\n", "a\u{202e}b", &"x".repeat(65)] {
            assert_eq!(Key::new(1, name), Err(ConversationError::Name), "{name:?}");
        }
    }
}
