//! Messages that wait to be sent, so that the replies to one client do not delay those to another.
//!
//! A bus reads from each of its connections in turn, a little at a time, so the daemon's socket drains slowly while
//! others are busy. A reply to a client for which little waits goes ahead. Large replies, and those to a client that
//! makes call after call, go behind, where the clients take turns. The order of the messages to one client is kept.
//!
//! The outbox is a plain queue. Its bytes are bounded by its users: those of replies by [`super::traffic`], those of all
//! others because they are added only while [`Outbox::is_full`] is false.

use std::collections::{HashMap, VecDeque};

/// Most bytes for one client that go ahead at a time.
const AHEAD: usize = 4 << 10;

/// Bytes ahead from which on the outbox is full. The bus reads nothing then.
const FULL: usize = 1 << 20;

/// The queue of all messages; `T` is a message.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    ahead: VecDeque<Ahead<T>>,
    ahead_bytes: usize,
    clients: HashMap<String, Client<T>>,
    /// Clients with messages behind, in the order of their turns.
    turns: VecDeque<String>,
}

/// A message that goes ahead.
#[derive(Debug)]
struct Ahead<T> {
    message: T,
    bytes: usize,
    /// `None`: it is for all, or for the bus.
    client: Option<String>,
}

/// The messages for a client that has some.
#[derive(Debug)]
struct Client<T> {
    ahead_bytes: usize,
    behind: VecDeque<T>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            clients: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<T> Outbox<T> {
    /// Adds a message of `bytes` bytes for a client, or for all.
    pub(super) fn push(&mut self, message: T, bytes: usize, client: Option<&str>) {
        if let Some(name) = client {
            let client = self.clients.entry(name.to_owned()).or_insert(Client {
                ahead_bytes: 0,
                behind: VecDeque::new(),
            });
            if !client.behind.is_empty() || client.ahead_bytes + bytes > AHEAD {
                if client.behind.is_empty() {
                    self.turns.push_back(name.to_owned());
                }
                client.behind.push_back(message);
                return;
            }
            client.ahead_bytes += bytes;
        }
        self.ahead_bytes += bytes;
        self.ahead.push_back(Ahead {
            message,
            bytes,
            client: client.map(ToOwned::to_owned),
        });
    }

    /// Takes the message to be sent next.
    pub(super) fn pop(&mut self) -> Option<T> {
        if let Some(next) = self.ahead.pop_front() {
            self.ahead_bytes -= next.bytes;
            if let Some(name) = next.client
                && let Some(client) = self.clients.get_mut(&name)
            {
                client.ahead_bytes -= next.bytes;
                self.tidy(&name);
            }
            return Some(next.message);
        }
        let name = self.turns.pop_front()?;
        let client = self.clients.get_mut(&name)?;
        let message = client.behind.pop_front();
        if client.behind.is_empty() {
            self.tidy(&name);
        } else {
            self.turns.push_back(name);
        }
        message
    }

    /// Drops the messages behind of a client that has left.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(client) = self.clients.get_mut(name)
            && !client.behind.is_empty()
        {
            client.behind.clear();
            self.turns.retain(|it| it != name);
            self.tidy(name);
        }
    }

    /// Whether only replies may be added.
    pub(super) fn is_full(&self) -> bool {
        self.ahead_bytes > FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.turns.is_empty()
    }

    /// Forgets a client without messages.
    fn tidy(&mut self, name: &str) {
        let is_done = |client: &Client<T>| client.ahead_bytes == 0 && client.behind.is_empty();
        if self.clients.get(name).is_some_and(is_done) {
            self.clients.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// All messages in the order in which they are sent.
    fn all<T>(outbox: &mut Outbox<T>) -> Vec<T> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    #[test]
    fn a_small_reply_is_sent_before_the_many_of_a_busy_client() {
        let mut outbox = Outbox::default();
        for number in 0..100 {
            outbox.push(("busy", number), 1000, Some(":1.1"));
        }
        outbox.push(("state", 0), 100, Some(":1.2"));
        let sent = all(&mut outbox);
        assert_eq!(sent.iter().position(|it| it.0 == "state"), Some(4));
        assert!(outbox.clients.is_empty() && outbox.is_empty());
    }

    #[test]
    fn clients_with_large_replies_take_turns() {
        let mut outbox = Outbox::default();
        for number in 0..3 {
            outbox.push(("a", number), 10_000, Some(":1.1"));
        }
        outbox.push(("b", 0), 10_000, Some(":1.2"));
        let sent = all(&mut outbox);
        assert_eq!(sent, [("a", 0), ("b", 0), ("a", 1), ("a", 2)]);
    }

    /// Steps: a message of so many bytes is pushed for a client of four, or one is popped.
    fn steps() -> impl Strategy<Value = Vec<Option<(usize, usize)>>> {
        let bytes = select(vec![60, 300, 2000, 100_000]);
        vec(proptest::option::of((0..4_usize, bytes)), 0..300)
    }

    proptest! {
        #[test]
        fn every_message_is_sent_once_and_in_the_order_of_its_client(steps in steps()) {
            let mut outbox = Outbox::default();
            let (mut pushed, mut popped) = ([0; 4], vec![]);
            for step in steps {
                let Some((client, bytes)) = step else {
                    popped.extend(outbox.pop());
                    continue;
                };
                let name = (client > 0).then(|| format!(":1.{client}"));
                outbox.push((client, pushed[client]), bytes, name.as_deref());
                pushed[client] += 1;
            }
            popped.extend(all(&mut outbox));
            for (client, &count) in pushed.iter().enumerate() {
                let numbers = popped.iter().filter(|it| it.0 == client).map(|it| it.1);
                prop_assert!(numbers.eq(0..count));
            }
            prop_assert_eq!(outbox.ahead_bytes, 0);
            prop_assert!(outbox.clients.is_empty() && outbox.is_empty());
        }
    }

    #[test]
    fn a_client_that_has_left_is_sent_nothing_large() {
        let mut outbox = Outbox::default();
        for number in 0..10 {
            outbox.push(number, 3000, Some(":1.1"));
        }
        outbox.forget(":1.1");
        assert_eq!(all(&mut outbox), [0]);
        assert!(outbox.clients.is_empty() && outbox.is_empty());
    }

    #[test]
    fn it_is_full_when_the_bus_reads_nothing_and_not_because_of_one_client() {
        let mut outbox = Outbox::default();
        outbox.push((), 2 * FULL, Some(":1.1"));
        assert!(!outbox.is_full());
        for _ in 0..=FULL / 1000 {
            outbox.push((), 1000, None);
        }
        assert!(outbox.is_full());
        outbox.pop();
        assert!(!outbox.is_full());
    }
}
