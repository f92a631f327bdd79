//! The typed conversations of all users, by name. Each belongs to the user who began it; nobody else learns that it exists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;

use super::conversation::{Conversation, ConversationError, Exchange, Held, Key};
use super::shelf::Shelf;
use crate::config;
use crate::engine::Message;

/// Most text of all conversations together, in bytes. Beyond that, those that were used longest ago are forgotten.
const MOST_TEXT: usize = 32 << 20;

/// A conversation, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Number of its exchanges.
    pub exchanges: usize,
    /// Bytes of its text.
    pub bytes: usize,
    /// When it was used last.
    pub used: SystemTime,
}

/// All conversations. Clones share them.
#[derive(Debug, Clone)]
pub struct Conversations {
    held: Arc<Mutex<BTreeMap<Key, Held>>>,
    shelf: Shelf,
}

impl Conversations {
    /// Those that lie on `shelf`.
    #[must_use]
    pub fn start(shelf: Shelf) -> Self {
        let held = shelf.read();
        Self {
            held: Arc::new(Mutex::new(held)),
            shelf,
        }
    }

    /// Begins an exchange in a conversation, which is begun too if there is none of that name yet.
    ///
    /// # Errors
    /// [`ConversationError::Off`] or [`ConversationError::UnderWay`].
    pub fn begin(
        &self,
        key: Key,
        limits: &config::Conversation,
        now: SystemTime,
    ) -> Result<UnderWay, ConversationError> {
        let most = limits.most.get() as usize;
        let mut held = self.held();
        for gone in old(&held, limits, now) {
            self.drop_one(&mut held, &gone);
        }
        if most == 0 {
            return Err(ConversationError::Off);
        }
        if !held.contains_key(&key) {
            while of(&held, key.user).count() >= most {
                let oldest = idle(of(&held, key.user));
                let oldest = oldest.ok_or_else(|| ConversationError::UnderWay(key.name.clone()))?;
                self.drop_one(&mut held, &oldest);
            }
        }
        let one = held.entry(key.clone()).or_insert_with(|| Held {
            conversation: Conversation::default(),
            used: now,
            reading: None,
            under_way: None,
        });
        if one.under_way.is_some() {
            return Err(ConversationError::UnderWay(key.name));
        }
        // The question reads the same.
        if let Some(reading) = one.reading.take() {
            reading.abort();
        }
        let mark = Arc::new(());
        (one.under_way, one.used) = (Some(Arc::clone(&mark)), now);
        Ok(UnderWay {
            conversations: self.clone(),
            conversation: one.conversation.clone(),
            keeps: limits.keep,
            key,
            mark,
        })
    }

    /// The conversations of `user`, the one used last first.
    #[must_use]
    pub fn list(&self, user: u32) -> Vec<Summary> {
        let held = self.held();
        let mut all: Vec<_> = of(&held, user)
            .map(|(key, one)| Summary {
                name: key.name.clone(),
                exchanges: one.conversation.exchanges().len(),
                bytes: one.conversation.bytes(),
                used: one.used,
            })
            .collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.used));
        all
    }

    /// The messages of a conversation, the oldest first.
    ///
    /// # Errors
    /// [`ConversationError::Unknown`].
    pub fn messages(&self, key: &Key) -> Result<Vec<Message>, ConversationError> {
        let held = self.held();
        let one = held.get(key);
        one.map(|it| it.conversation.messages())
            .ok_or_else(|| ConversationError::Unknown(key.name.clone()))
    }

    /// Forgets a conversation. An answer under way goes on, and is not remembered.
    ///
    /// # Errors
    /// [`ConversationError::Unknown`].
    pub fn forget(&self, key: &Key) -> Result<(), ConversationError> {
        let mut held = self.held();
        let is_there = held.contains_key(key);
        self.drop_one(&mut held, key);
        is_there
            .then_some(())
            .ok_or_else(|| ConversationError::Unknown(key.name.clone()))
    }

    /// Forgets all conversations of `user`, and returns their number.
    #[allow(clippy::must_use_candidate)] // It forgets.
    pub fn forget_all(&self, user: u32) -> usize {
        let mut held = self.held();
        let all: Vec<_> = of(&held, user).map(|(key, _)| key.clone()).collect();
        for key in &all {
            self.drop_one(&mut held, key);
        }
        all.len()
    }

    /// Waits until everything is written.
    pub async fn stop(&self) {
        self.shelf.written().await;
    }

    fn drop_one(&self, held: &mut BTreeMap<Key, Held>, key: &Key) {
        if held.remove(key).is_some() {
            self.shelf.remove(key.clone());
        }
    }

    /// Forgets what was used longest ago, as long as there is too much text.
    fn limit(&self, held: &mut BTreeMap<Key, Held>) {
        let text = |held: &BTreeMap<Key, Held>| -> usize {
            held.values().map(|it| it.conversation.bytes()).sum()
        };
        while text(held) > MOST_TEXT
            && let Some(oldest) = idle(held.iter())
        {
            self.drop_one(held, &oldest);
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        // No code panics while it is locked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The conversations of `user`.
fn of(held: &BTreeMap<Key, Held>, user: u32) -> impl Iterator<Item = (&Key, &Held)> {
    held.iter().filter(move |(key, _)| key.user == user)
}

/// The one that was used longest ago, and has no answer under way.
fn idle<'a>(held: impl Iterator<Item = (&'a Key, &'a Held)>) -> Option<Key> {
    let idle = held.filter(|(_, it)| it.under_way.is_none());
    idle.min_by_key(|(_, it)| it.used)
        .map(|(key, _)| key.clone())
}

/// Those that were not used for too long.
fn old(held: &BTreeMap<Key, Held>, limits: &config::Conversation, now: SystemTime) -> Vec<Key> {
    let longest = Duration::from_secs(3600 * u64::from(limits.forget_h.get()));
    // A clock that was set back makes nothing old.
    let age = |it: &Held| now.duration_since(it.used).unwrap_or_default();
    let old = held
        .iter()
        .filter(|(_, it)| it.under_way.is_none() && age(it) > longest);
    old.map(|(key, _)| key.clone()).collect()
}

/// An exchange that is under way. Nothing is remembered if it is dropped.
#[derive(Debug)]
pub struct UnderWay {
    conversations: Conversations,
    conversation: Conversation,
    keeps: bool,
    key: Key,
    mark: Arc<()>,
}

impl UnderWay {
    /// What was said before, shortened to `room` tokens, and the number of exchanges that were forgotten for that.
    pub fn history(&mut self, room: usize) -> (Vec<Message>, usize) {
        let forgotten = self.conversation.shorten(room);
        (self.conversation.messages(), forgotten)
    }

    /// Tokens of what was said before.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.conversation.tokens()
    }

    /// Remembers the exchange. `read` begins to read all of it ahead of the next question.
    pub fn end(
        mut self,
        exchange: Exchange,
        now: SystemTime,
        read: impl FnOnce(Vec<Message>) -> Option<AbortHandle>,
    ) {
        self.conversation.add(exchange);
        let mut held = self.conversations.held();
        let Some(one) = held.get_mut(&self.key).filter(|it| self.is(it)) else {
            return;
        };
        one.conversation = self.conversation.clone();
        one.used = now;
        one.reading = read(self.conversation.messages());
        if self.keeps {
            self.conversations
                .shelf
                .write(self.key.clone(), one.clone());
        }
        self.conversations.limit(&mut held);
    }

    fn is(&self, one: &Held) -> bool {
        let mark = one.under_way.as_ref();
        mark.is_some_and(|mark| Arc::ptr_eq(mark, &self.mark))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut held = self.conversations.held();
        let Some(one) = held.get_mut(&self.key) else {
            return;
        };
        if self.is(one) {
            one.under_way = None;
            // One that came to nothing was never begun.
            if one.conversation.exchanges().len() == 0 {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bounded;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn key(user: u32, name: &str) -> Key {
        Key::new(user, name).unwrap()
    }

    fn exchange(asked: &str) -> Exchange {
        Exchange {
            asked: asked.into(),
            answered: "yes".into(),
            tokens: 10,
        }
    }

    fn limits() -> config::Conversation {
        config::Conversation {
            most: Bounded::new(2).unwrap(),
            forget_h: Bounded::new(1).unwrap(),
            keep: false,
        }
    }

    /// Conversations in which these were asked, in order, each a second after the one before.
    fn asked(all: &[(u32, &str, &str)]) -> Conversations {
        let conversations = Conversations::start(Shelf::none());
        for (second, (user, name, text)) in (1..).zip(all) {
            let begun = conversations.begin(key(*user, name), &limits(), at(second));
            begun.unwrap().end(exchange(text), at(second), |_| None);
        }
        conversations
    }

    fn names(conversations: &Conversations, user: u32) -> Vec<String> {
        let all = conversations.list(user).into_iter();
        all.map(|it| it.name).collect()
    }

    #[test]
    fn what_was_said_in_a_conversation_is_there_for_its_next_question_and_its_user_alone() {
        let all = asked(&[
            (7, "a", "one"),
            (7, "b", "two"),
            (7, "a", "three"),
            (8, "a", "four"),
        ]);
        let mut next = all.begin(key(7, "a"), &limits(), at(9)).unwrap();
        let (history, forgotten) = next.history(1000);
        let texts: Vec<_> = history.iter().map(Message::text).collect();
        assert_eq!((texts, forgotten), (vec!["one", "yes", "three", "yes"], 0));
        assert_eq!(names(&all, 7), ["a", "b"]);
        assert_eq!(names(&all, 8), ["a"]);
        assert!(names(&all, 9).is_empty());
        let unknown = ConversationError::Unknown("a".into());
        assert_eq!(all.messages(&key(9, "a")), Err(unknown.clone()));
        assert_eq!(all.forget(&key(9, "a")), Err(unknown));
        assert_eq!(all.forget_all(9), 0);
    }

    #[test]
    fn a_conversation_answers_one_question_at_a_time() {
        let all = asked(&[]);
        let first = all.begin(key(7, "a"), &limits(), at(1)).unwrap();
        let second = all.begin(key(7, "a"), &limits(), at(1)).map(drop);
        assert_eq!(second, Err(ConversationError::UnderWay("a".into())));
        // It was not answered, so it was never begun.
        drop(first);
        assert!(names(&all, 7).is_empty());
        let again = all.begin(key(7, "a"), &limits(), at(2));
        again.unwrap().end(exchange("one"), at(3), |_| None);
        assert_eq!(names(&all, 7), ["a"]);
    }

    #[test]
    fn one_more_takes_the_place_of_the_one_that_was_used_longest_ago() {
        let all = asked(&[
            (7, "a", "one"),
            (7, "b", "two"),
            (7, "a", "three"),
            (7, "c", "four"),
        ]);
        assert_eq!(names(&all, 7), ["c", "a"]);
        // Those that are being answered stay.
        let _a = all.begin(key(7, "a"), &limits(), at(9)).unwrap();
        let _c = all.begin(key(7, "c"), &limits(), at(9)).unwrap();
        assert!(all.begin(key(7, "d"), &limits(), at(9)).is_err());
    }

    #[test]
    fn a_conversation_that_is_not_used_is_forgotten() {
        let all = asked(&[(7, "a", "one"), (7, "b", "two")]);
        let used = all.begin(key(7, "b"), &limits(), at(3000)).unwrap();
        used.end(exchange("three"), at(3000), |_| None);
        drop(all.begin(key(8, "x"), &limits(), at(3602)).unwrap());
        assert_eq!(names(&all, 7), ["b"]);
        // The clock is set back.
        drop(all.begin(key(8, "x"), &limits(), at(0)).unwrap());
        assert_eq!(names(&all, 7), ["b"]);
    }

    #[test]
    fn an_answer_to_a_conversation_that_was_forgotten_meanwhile_is_not_remembered() {
        let all = asked(&[(7, "a", "one")]);
        let first = all.begin(key(7, "a"), &limits(), at(5)).unwrap();
        all.forget(&key(7, "a")).unwrap();
        let second = all.begin(key(7, "a"), &limits(), at(6)).unwrap();
        first.end(exchange("lost"), at(7), |_| None);
        assert!(all.begin(key(7, "a"), &limits(), at(8)).is_err());
        second.end(exchange("two"), at(9), |_| None);
        let messages = all.messages(&key(7, "a")).unwrap();
        assert_eq!(messages[0].text(), "two");
        assert_eq!(all.forget_all(7), 1);
        assert!(names(&all, 7).is_empty());
    }

    #[test]
    fn all_conversations_together_have_a_most_of_text() {
        let all = Conversations::start(Shelf::none());
        for user in 0..80 {
            let begun = all.begin(key(user, "a"), &limits(), at(user.into()));
            let long = exchange(&"x".repeat(500_000));
            begun.unwrap().end(long, at(user.into()), |_| None);
        }
        assert!(names(&all, 0).is_empty());
        assert_eq!(names(&all, 79), ["a"]);
        let text: usize = all.held().values().map(|it| it.conversation.bytes()).sum();
        assert!(text <= MOST_TEXT, "{text}");
    }

    #[test]
    fn none_are_kept_if_none_are_wanted() {
        let none = config::Conversation {
            most: Bounded::new(0).unwrap(),
            ..limits()
        };
        let all = asked(&[]);
        let refused = all.begin(key(7, "a"), &none, at(1)).map(drop);
        assert_eq!(refused, Err(ConversationError::Off));
    }
}
