//! The typed conversations of all users, by name. Each belongs to the user who began it; nobody else learns that it exists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;

use super::conversation::{Conversation, ConversationError, Exchange, Held, Key};
use super::shelf::Shelf;
use crate::config::{self, Config, Follow, Settings};
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
    book: Arc<Mutex<Book>>,
    shelf: Shelf,
}

#[derive(Debug, Default)]
struct Book {
    held: BTreeMap<Key, Held>,
    /// Marks of the exchanges under way, which tell them apart from later ones in a conversation of the same name.
    under_way: BTreeMap<Key, Arc<()>>,
}

impl Conversations {
    /// Those that lie on `shelf`.
    #[must_use]
    pub fn start(shelf: Shelf) -> Self {
        let book = Book {
            held: shelf.read(),
            under_way: BTreeMap::new(),
        };
        Self {
            book: Arc::new(Mutex::new(book)),
            shelf,
        }
    }

    /// Begins an exchange in a conversation. One of a new name begins once the exchange is remembered.
    ///
    /// # Errors
    /// [`ConversationError::Off`] or [`ConversationError::UnderWay`].
    pub fn begin(
        &self,
        key: Key,
        limits: &config::Conversation,
        now: SystemTime,
    ) -> Result<UnderWay, ConversationError> {
        let conversation = self.look(&key, limits, now)?;
        let mut book = self.book();
        if book.under_way.contains_key(&key) {
            return Err(ConversationError::UnderWay(key.name));
        }
        // The question reads the same.
        if let Some(reading) = book.held.get_mut(&key).and_then(|it| it.reading.take()) {
            reading.abort();
        }
        let mark = Arc::new(());
        book.under_way.insert(key.clone(), Arc::clone(&mark));
        Ok(UnderWay {
            conversations: self.clone(),
            conversation,
            limits: limits.clone(),
            key,
            mark,
        })
    }

    /// A conversation as it is; an empty one if there is none of that name.
    ///
    /// # Errors
    /// [`ConversationError::Off`].
    pub fn look(
        &self,
        key: &Key,
        limits: &config::Conversation,
        now: SystemTime,
    ) -> Result<Conversation, ConversationError> {
        self.forget_old(limits, now);
        if limits.most.get() == 0 {
            return Err(ConversationError::Off);
        }
        let book = self.book();
        let one = book.held.get(key);
        Ok(one.map(|it| it.conversation.clone()).unwrap_or_default())
    }

    /// Forgets conversations that were not used for too long.
    pub fn forget_old(&self, limits: &config::Conversation, now: SystemTime) {
        let longest = Duration::from_secs(3600 * u64::from(limits.forget_h.get()));
        // A clock that was set back makes nothing old.
        let age = |it: &Held| now.duration_since(it.used).unwrap_or_default();
        let mut book = self.book();
        let old = book.held.iter().filter(|(_, it)| age(it) > longest);
        let old: Vec<_> = old.map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.drop_one(&mut book, key);
        }
    }

    /// Does that every hour, by the limits of the time. Never ends.
    pub async fn expire(self, settings: Settings) {
        let mut hours = tokio::time::interval(Duration::from_hours(1));
        loop {
            hours.tick().await;
            self.forget_old(&settings.current().conversation, SystemTime::now());
        }
    }

    /// The conversations of `user`, the one used last first.
    #[must_use]
    pub fn list(&self, user: u32) -> Vec<Summary> {
        let book = self.book();
        let mut all: Vec<_> = of(&book.held, user)
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
        let book = self.book();
        let one = book.held.get(key);
        one.map(|it| it.conversation.messages())
            .ok_or_else(|| ConversationError::Unknown(key.name.clone()))
    }

    /// Forgets a conversation. An answer under way goes on, and is not remembered.
    ///
    /// # Errors
    /// [`ConversationError::Unknown`].
    pub fn forget(&self, key: &Key) -> Result<(), ConversationError> {
        let mut book = self.book();
        let was_under_way = book.under_way.remove(key).is_some();
        let was_there = self.drop_one(&mut book, key) || was_under_way;
        was_there
            .then_some(())
            .ok_or_else(|| ConversationError::Unknown(key.name.clone()))
    }

    /// Forgets all conversations of `user`, and returns their number.
    #[allow(clippy::must_use_candidate)] // It forgets.
    pub fn forget_all(&self, user: u32) -> usize {
        let mut book = self.book();
        book.under_way.retain(|key, _| key.user != user);
        let all: Vec<_> = of(&book.held, user).map(|(key, _)| key.clone()).collect();
        for key in &all {
            self.drop_one(&mut book, key);
        }
        all.len()
    }

    /// Waits until everything is written.
    pub async fn stop(&self) {
        self.shelf.written().await;
    }

    /// Forgets a conversation, if it is there.
    fn drop_one(&self, book: &mut Book, key: &Key) -> bool {
        let is_there = book.held.remove(key).is_some();
        if is_there {
            self.shelf.remove(key.clone());
        }
        is_there
    }

    /// Forgets what was used longest ago, as long as `user` has more than `most` conversations, or all have too much text.
    fn limit(&self, book: &mut Book, user: u32, most: usize) {
        let text =
            |book: &Book| -> usize { book.held.values().map(|it| it.conversation.bytes()).sum() };
        while of(&book.held, user).count() > most
            && let Some(oldest) = oldest(of(&book.held, user))
        {
            self.drop_one(book, &oldest);
        }
        while text(book) > MOST_TEXT
            && let Some(oldest) = oldest(book.held.iter())
        {
            self.drop_one(book, &oldest);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // No code panics while it is locked.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follow for Conversations {
    /// What is to be kept from now on is written, and what is not is deleted.
    fn follow(&self, before: &Config, after: &Config) {
        match (before.conversation.keep, after.conversation.keep) {
            (false, true) => {
                for (key, held) in &self.book().held {
                    self.shelf.write(key.clone(), held);
                }
            }
            (true, false) => self.shelf.clear(),
            _ => {}
        }
    }
}

/// The conversations of `user`.
fn of(held: &BTreeMap<Key, Held>, user: u32) -> impl Iterator<Item = (&Key, &Held)> {
    held.iter().filter(move |(key, _)| key.user == user)
}

/// The one that was used longest ago.
fn oldest<'a>(held: impl Iterator<Item = (&'a Key, &'a Held)>) -> Option<Key> {
    let oldest = held.min_by_key(|(_, it)| it.used);
    oldest.map(|(key, _)| key.clone())
}

/// An exchange that is under way. Nothing is remembered if it is dropped.
#[derive(Debug)]
pub struct UnderWay {
    conversations: Conversations,
    conversation: Conversation,
    limits: config::Conversation,
    key: Key,
    mark: Arc<()>,
}

impl UnderWay {
    /// What was said before. It may be shortened.
    pub fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Remembers the exchange. `read` begins to read all of it ahead of the next question.
    pub fn end(
        mut self,
        exchange: Exchange,
        now: SystemTime,
        read: impl FnOnce(Vec<Message>) -> Option<AbortHandle>,
    ) {
        let conversation = std::mem::take(&mut self.conversation).with(exchange);
        let all = &self.conversations;
        let mut book = all.book();
        // It may have been forgotten meanwhile.
        if !self.is_under_way(&book) {
            return;
        }
        let held = Held {
            reading: read(conversation.messages()),
            conversation,
            used: now,
        };
        if self.limits.keep {
            all.shelf.write(self.key.clone(), &held);
        }
        book.held.insert(self.key.clone(), held);
        let most = self.limits.most.get() as usize;
        all.limit(&mut book, self.key.user, most);
    }

    fn is_under_way(&self, book: &Book) -> bool {
        let mark = book.under_way.get(&self.key);
        mark.is_some_and(|mark| Arc::ptr_eq(mark, &self.mark))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut book = self.conversations.book();
        if self.is_under_way(&book) {
            book.under_way.remove(&self.key);
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
        Exchange::in_words(asked.into(), "yes".into(), 10)
    }

    fn limits() -> config::Conversation {
        config::Conversation {
            most: Bounded::new(2).unwrap(),
            forget_h: Bounded::new(1).unwrap(),
            quiet_ms: Bounded::new(0).unwrap(),
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
        let history = next.conversation().messages();
        let texts: Vec<_> = history.iter().map(Message::text).collect();
        assert_eq!(texts, ["one", "yes", "three", "yes"]);
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
        // Nothing makes room for a question that is not answered, or only looked at.
        drop(all.begin(key(7, "d"), &limits(), at(9)).unwrap());
        all.look(&key(7, "e"), &limits(), at(9)).unwrap();
        assert_eq!(names(&all, 7), ["c", "a"]);
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
        let text: usize = all
            .book()
            .held
            .values()
            .map(|it| it.conversation.bytes())
            .sum();
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
