//! Messages that wait to be sent, so that the replies to one client do not delay those to another.
//!
//! A bus reads from each of its connections in turn, a little at a time, so the daemon's socket drains slowly while
//! others are busy. The clients therefore take turns by bytes, and a client that had nothing waiting comes first. That is
//! the fair queueing of FQ-CoDel (RFC 8290, section 4.2), which is deficit round robin (Shreedhar and Varghese 1995) with
//! a list of new flows: a client that returns as soon as it was served goes to the end of the others, so nothing starves.
//!
//! The order of the messages to one client is kept. Messages for all (signals) go ahead of every client's. They do not
//! overtake earlier replies either, unless more than [`IN_ORDER`] bytes wait, which takes clients that flood the bus.

use std::collections::{HashMap, VecDeque};

/// Bytes that a client may send in its turn. A longer message is sent too, and counts against the turns after it. A client
/// that calls again at once waits for a turn of every other; with 250 of them that is 128 KB, or 70 ms.
const QUANTUM: i64 = 512;

/// Most bytes that wait and that a message for all lets go first.
const IN_ORDER: usize = 128 << 10;

/// Bytes ahead from which on the outbox is full. The bus reads nothing then.
const FULL: usize = 1 << 20;

/// The queue of all messages; `T` is a message.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    ahead: Queue<T>,
    clients: HashMap<String, Client<T>>,
    /// Clients that had nothing waiting, in the order of their turns.
    new: VecDeque<String>,
    /// The others.
    old: VecDeque<String>,
    /// Bytes that wait for clients.
    waiting: usize,
}

/// The messages for a client whose turn comes.
#[derive(Debug)]
struct Client<T> {
    queue: Queue<T>,
    /// Bytes that it may still send in this turn, if above 0.
    credit: i64,
}

/// Messages with their bytes.
#[derive(Debug)]
struct Queue<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Queue<T> {
    fn push(&mut self, message: T, bytes: usize) {
        self.messages.push_back((message, bytes));
        self.bytes += bytes;
    }

    fn pop(&mut self) -> Option<(T, usize)> {
        let next = self.messages.pop_front()?;
        self.bytes -= next.1;
        Some(next)
    }
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            ahead: Queue::default(),
            clients: HashMap::new(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            waiting: 0,
        }
    }
}

impl<T> Outbox<T> {
    /// Adds a message of `bytes` bytes for a client, or for all.
    pub(super) fn push(&mut self, message: T, bytes: usize, client: Option<&str>) {
        let Some(name) = client else {
            if self.waiting <= IN_ORDER {
                while let Some((earlier, bytes)) = self.pop_client() {
                    self.ahead.push(earlier, bytes);
                }
            }
            return self.ahead.push(message, bytes);
        };
        self.waiting += bytes;
        if let Some(client) = self.clients.get_mut(name) {
            return client.queue.push(message, bytes);
        }
        let mut queue = Queue::default();
        queue.push(message, bytes);
        let credit = QUANTUM;
        self.clients
            .insert(name.to_owned(), Client { queue, credit });
        self.new.push_back(name.to_owned());
    }

    /// Takes the message to be sent next.
    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.ahead.pop().or_else(|| self.pop_client());
        next.map(|(message, _)| message)
    }

    /// Drops the messages for a client that has left.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(client) = self.clients.get_mut(name) {
            self.waiting -= client.queue.bytes;
            client.queue = Queue::default();
        }
    }

    /// Whether only replies may be added.
    pub(super) fn is_full(&self) -> bool {
        self.ahead.bytes > FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ahead.bytes + self.waiting == 0
    }

    /// Takes the next message for a client.
    fn pop_client(&mut self) -> Option<(T, usize)> {
        loop {
            let is_new = !self.new.is_empty();
            let list = if is_new { &mut self.new } else { &mut self.old };
            let name = list.pop_front()?;
            let Some(client) = self.clients.get_mut(&name) else {
                continue;
            };
            if client.credit <= 0 {
                client.credit += QUANTUM;
                self.old.push_back(name);
                continue;
            }
            if let Some((message, bytes)) = client.queue.pop() {
                client.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
                self.waiting -= bytes;
                // It is still its turn.
                let list = if is_new { &mut self.new } else { &mut self.old };
                list.push_front(name);
                return Some((message, bytes));
            }
            if is_new {
                self.old.push_back(name);
            } else {
                self.clients.remove(&name);
            }
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
        outbox.pop();
        outbox.push(("state", 0), 100, Some(":1.2"));
        let sent = all(&mut outbox);
        assert_eq!(sent.iter().position(|it| it.0 == "state"), Some(0));
        assert!(outbox.clients.is_empty() && outbox.is_empty());
    }

    #[test]
    fn clients_take_turns_by_bytes() {
        let mut outbox = Outbox::default();
        for number in 0..3 {
            outbox.push(("large", number), 10_000, Some(":1.1"));
            for nth in 0..3 {
                outbox.push(("small", 3 * number + nth), 2000, Some(":1.2"));
            }
        }
        let sent = all(&mut outbox);
        let large: Vec<_> = (0..sent.len())
            .filter(|nth| sent[*nth].0 == "large")
            .collect();
        assert_eq!(large, [0, 6, 11]);
    }

    #[test]
    fn clients_that_always_have_a_small_reply_waiting_starve_nobody() {
        let mut outbox = Outbox::default();
        for number in 0..100 {
            for _ in 0..40 {
                outbox.push(number, 80, Some(&format!(":1.{number}")));
            }
        }
        for _ in 0..4 {
            // The large reply is the first of its client, and that client's next one waits its turn.
            outbox.push(1000, 16_000, Some(":1.1000"));
            let mut sent = 0;
            loop {
                match outbox.pop() {
                    Some(1000) => break,
                    Some(number) => outbox.push(number, 80, Some(&format!(":1.{number}"))),
                    None => panic!(),
                }
                sent += 80;
            }
            assert!(sent <= 40 * 100 * 512, "{sent}");
        }
        outbox.push(2000, 80, Some(":1.2000"));
        let position = (0..100).find(|_| outbox.pop() == Some(2000));
        assert!(
            position.is_some(),
            "one that had nothing waiting comes first"
        );
    }

    #[test]
    fn a_message_for_all_overtakes_nothing_but_a_flood() {
        let mut outbox = Outbox::default();
        for number in 0..4 {
            outbox.push(number, IN_ORDER / 4, Some(":1.1"));
        }
        outbox.push(10, 100, None);
        outbox.push(11, 100, Some(":1.1"));
        assert_eq!(all(&mut outbox), [0, 1, 2, 3, 10, 11]);
        for number in 0..5 {
            outbox.push(number, IN_ORDER / 4, Some(":1.1"));
        }
        outbox.push(10, 100, None);
        assert_eq!(all(&mut outbox), [10, 0, 1, 2, 3, 4]);
    }

    /// Steps: a message of so many bytes is pushed for a client of four, or for all, or one is popped.
    fn steps() -> impl Strategy<Value = Vec<Option<(usize, usize)>>> {
        let bytes = select(vec![60, 300, 2000, 100_000]);
        vec(proptest::option::of((0..5_usize, bytes)), 0..300)
    }

    proptest! {
        #[test]
        fn every_message_is_sent_once_and_in_the_order_of_its_client(steps in steps()) {
            let mut outbox = Outbox::default();
            let (mut pushed, mut popped) = ([0; 5], vec![]);
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
            prop_assert!(outbox.clients.is_empty() && outbox.is_empty());
        }
    }

    #[test]
    fn a_client_that_has_left_is_sent_nothing() {
        let mut outbox = Outbox::default();
        for number in 0..10 {
            outbox.push(number, 3000, Some(":1.1"));
        }
        outbox.forget(":1.1");
        assert!(outbox.is_empty());
        assert_eq!(all(&mut outbox), [0; 0]);
        assert!(outbox.clients.is_empty());
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
        outbox.pop();
        assert!(!outbox.is_full());
    }
}
