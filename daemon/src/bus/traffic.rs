//! What clients have asked and not been answered, and which replies they may not have read.
//!
//! A bus keeps what a client does not read, and stops reading from the daemon when it keeps too much of that: then one
//! client that never reads has silenced the daemon for all of them. So each client has a budget of replies. When half
//! of it is used the daemon pings the client, whose answer proves that it has read all before: a bus keeps the order, and
//! the number of the ping cannot be guessed. A client that cannot answer, as one without objects of its own, gets its
//! budget back slowly, as long as there is room and it has not had its share of that.
//!
//! Calls cost memory until they are answered, and files that come with them, so these are counted too; a call that wants
//! no reply is never large and brings no files. A call that halts is always obeyed; only its reply may be spared.
//!
//! Pure bookkeeping: it takes the time and reads no clock.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::bucket::Bucket;

/// Most calls of one client that are not answered yet. Programs make one after the other, or a handful at a time.
const UNANSWERED: usize = 64;

/// Most calls of one client that halt and are not answered yet. They are one halt, so more of them add nothing.
const HALTS: usize = 1024;

/// Most descriptors of calls that are not answered yet, in all: a quarter of those that a process may have.
const DESCRIPTORS: usize = 256;

/// Most bytes of calls that are not answered yet, in all, where a call is larger than [`SMALL`].
const BYTES: usize = 64 << 20;

/// Bytes of a call that are never too many.
const SMALL: usize = 1 << 16;

/// Bytes of replies that one client may leave unread.
const BUDGET: usize = 1 << 20;

/// Bytes of replies that all of them may leave unread. The system's bus stops reading from who has 127 MiB there.
const BUDGET_OF_ALL: usize = 32 << 20;

/// Bytes that a client may leave unread where all of them leave too much, and of refusals beyond its budget.
const LITTLE: usize = 1 << 14;

/// Most bytes of the refusal that takes the place of a reply for which there is no room.
const REFUSAL: usize = 1 << 10;

/// How long a client may take to answer a ping before it counts as one that cannot.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of its budget that a client which cannot answer gets back in a second, as long as all of them leave room.
const BACK: usize = 1 << 16;

/// Bytes that such a client may leave unread. Several of them leave room for others.
const SHARE: usize = 4 << 20;

/// Calls in a row that want no reply, and how many more a second adds to that.
const UNHEARD: u32 = 64;
const UNHEARD_A_SECOND: u32 = 32;

/// The traffic of all clients.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    clients: HashMap<String, Client>,
    descriptors: usize,
    bytes: usize,
    unread: usize,
}

/// A call as it arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The client's name on the bus.
    pub sender: &'a str,
    pub serial: NonZeroU32,
    pub bytes: usize,
    pub descriptors: usize,
    pub wants_reply: bool,
    pub halts: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// It is answered that the daemon is busy, and why.
    Refuse(&'static str),
    /// The client reads no answers.
    Ignore,
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    Send,
    /// It is sent, and a ping after it.
    SendAndPing,
    /// There is no room for it: a refusal is sent in its place.
    Refuse,
    /// The client reads no answers.
    Spare,
}

#[derive(Debug)]
struct Client {
    unanswered: HashMap<NonZeroU32, Weight>,
    halts: usize,
    /// Bytes of replies that it may not have read.
    unread: usize,
    /// Bytes of its budget that are used.
    used: usize,
    ping: Option<Ping>,
    /// Calls that want no reply and may still come.
    unheard: Bucket,
    seen: Instant,
}

/// What a call that is not answered yet costs.
#[derive(Debug, Clone, Copy)]
struct Weight {
    bytes: usize,
    descriptors: usize,
    halts: bool,
}

/// A ping that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Ping {
    /// `None`: it is not on its way yet.
    serial: Option<NonZeroU32>,
    /// Bytes of the replies before it.
    proves: usize,
    since: Instant,
}

impl Traffic {
    /// A call has arrived.
    pub(super) fn call(&mut self, call: Call<'_>, now: Instant) -> Verdict {
        // A bus lets no client use a number twice. One that did would have an answer less to wait for.
        self.settle(call.sender, call.serial);
        let crowded = call.bytes > SMALL && self.bytes + call.bytes > BYTES;
        let is_full = call.descriptors > 0 && self.descriptors + call.descriptors > DESCRIPTORS;
        let room = self.room();
        let client = self.clients.entry(call.sender.to_owned());
        let client = client.or_insert_with(|| Client::new(now));
        client.look(now, room);
        if !call.wants_reply {
            return client.unheard(&call, now);
        }
        let is_poor = client.used >= budget(room);
        let verdict = if call.halts && client.halts < HALTS {
            Verdict::Take
        } else if call.halts {
            Verdict::Refuse("as many halts are under way")
        } else if client.is_deaf(room) {
            Verdict::Ignore
        } else if is_poor {
            Verdict::Refuse(
                "you have not read the replies to earlier calls; read them, and answer org.freedesktop.DBus.Peer.Ping",
            )
        } else if client.unanswered.len() - client.halts >= UNANSWERED {
            Verdict::Refuse("64 of your calls are not answered yet; wait for the replies")
        } else if crowded || is_full {
            Verdict::Refuse("too many large calls, or files, are under way; try again later")
        } else {
            Verdict::Take
        };
        if verdict == Verdict::Take {
            let weight = Weight {
                bytes: call.bytes,
                descriptors: call.descriptors,
                halts: call.halts,
            };
            self.bytes += call.bytes;
            self.descriptors += call.descriptors;
            client.halts += usize::from(call.halts);
            client.unanswered.insert(call.serial, weight);
        }
        verdict
    }

    /// The reply to the call `serial` of a client is about to be sent, so many bytes.
    pub(super) fn reply(
        &mut self,
        to: &str,
        serial: NonZeroU32,
        bytes: usize,
        now: Instant,
    ) -> Parting {
        self.settle(to, serial);
        let room = self.room();
        // One that has left gets nothing.
        let Some(client) = self.clients.get_mut(to) else {
            return Parting::Send;
        };
        client.look(now, room);
        if client.is_deaf(room) {
            return Parting::Spare;
        }
        let has_room = bytes <= room || client.used + bytes <= budget(0) + LITTLE;
        let bytes = if has_room { bytes } else { REFUSAL };
        client.unread += bytes;
        client.used += bytes;
        self.unread += bytes;
        if !has_room {
            return Parting::Refuse;
        }
        if client.ping.is_some() || client.used < budget(room) / 2 {
            return Parting::Send;
        }
        client.ping = Some(Ping {
            serial: None,
            proves: client.unread,
            since: now,
        });
        Parting::SendAndPing
    }

    /// The call `serial` of a client is answered, or never will be.
    pub(super) fn settle(&mut self, client: &str, serial: NonZeroU32) {
        let client = self.clients.get_mut(client);
        if let Some(client) = client
            && let Some(weight) = client.unanswered.remove(&serial)
        {
            self.bytes -= weight.bytes;
            self.descriptors -= weight.descriptors;
            client.halts -= usize::from(weight.halts);
        }
    }

    /// The ping for this client is on its way under this number.
    pub(super) fn pinged(&mut self, client: &str, serial: NonZeroU32) {
        if let Some(ping) = self.clients.get_mut(client).and_then(|it| it.ping.as_mut()) {
            ping.serial = Some(serial);
        }
    }

    /// A reply to a call of the daemon's has come from a client.
    pub(super) fn answered(&mut self, by: &str, serial: NonZeroU32) {
        let Some(client) = self.clients.get_mut(by) else {
            return;
        };
        if let Some(ping) = client.ping.take_if(|it| it.serial == Some(serial)) {
            let proven = ping.proves.min(client.unread);
            client.unread -= proven;
            client.used = client.used.min(client.unread);
            self.unread -= proven;
        }
    }

    /// A client has left. The bus keeps nothing for it any more.
    pub(super) fn left(&mut self, name: &str) {
        let Some(client) = self.clients.remove(name) else {
            return;
        };
        self.unread -= client.unread;
        for weight in client.unanswered.values() {
            self.bytes -= weight.bytes;
            self.descriptors -= weight.descriptors;
        }
    }

    /// Bytes of replies that all clients together may still leave unread.
    fn room(&self) -> usize {
        BUDGET_OF_ALL.saturating_sub(self.unread)
    }
}

/// Bytes of replies that a client may leave unread where there is so much room for all of them.
fn budget(room: usize) -> usize {
    if room > 0 { BUDGET } else { LITTLE }
}

impl Client {
    fn new(now: Instant) -> Self {
        Self {
            unanswered: HashMap::new(),
            halts: 0,
            unread: 0,
            used: 0,
            ping: None,
            unheard: Bucket::new(UNHEARD, UNHEARD_A_SECOND, now),
            seen: now,
        }
    }

    /// Lets the time pass since it was looked at last.
    fn look(&mut self, now: Instant, room: usize) {
        let passed = now.saturating_duration_since(self.seen);
        self.seen = now;
        let is_silent = |ping: &Ping| now.saturating_duration_since(ping.since) > PATIENCE;
        if room > 0 && self.unread < SHARE && self.ping.as_ref().is_some_and(is_silent) {
            let microseconds = usize::try_from(passed.as_micros()).unwrap_or(usize::MAX);
            let back = microseconds.saturating_mul(BACK) / 1_000_000;
            self.used = self.used.saturating_sub(back);
        }
    }

    /// Whether not even refusals are read.
    fn is_deaf(&self, room: usize) -> bool {
        self.used >= budget(room) + LITTLE
    }

    /// A call that wants no reply.
    fn unheard(&mut self, call: &Call<'_>, now: Instant) -> Verdict {
        let is_light = call.bytes <= SMALL && call.descriptors == 0;
        if call.halts || is_light && self.unheard.take(now) {
            Verdict::Take
        } else {
            Verdict::Ignore
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: &str = ":1.7";

    fn serial(number: usize) -> NonZeroU32 {
        NonZeroU32::new(u32::try_from(number).unwrap() + 1).unwrap()
    }

    fn call(sender: &str, number: usize) -> Call<'_> {
        Call {
            sender,
            serial: serial(number),
            bytes: 200,
            descriptors: 0,
            wants_reply: true,
            halts: false,
        }
    }

    fn is_refused(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Refuse(_))
    }

    /// What becomes of call after call, each answered at once with so many bytes that are never read.
    fn unread(traffic: &mut Traffic, sender: &str, bytes: usize, now: Instant) -> usize {
        let mut sent = 0;
        for number in 0..100_000 {
            match traffic.call(call(sender, number), now) {
                Verdict::Ignore => return sent,
                Verdict::Take | Verdict::Refuse(_) => {
                    sent += match traffic.reply(sender, serial(number), bytes, now) {
                        Parting::Spare => 0,
                        Parting::Refuse => REFUSAL,
                        Parting::Send | Parting::SendAndPing => bytes,
                    };
                }
            }
        }
        sent
    }

    #[test]
    fn a_client_has_so_many_calls_under_way_and_halts_beside_them() {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        for number in 0..UNANSWERED {
            assert_eq!(traffic.call(call(ANNA, number), now), Verdict::Take);
        }
        assert!(is_refused(traffic.call(call(ANNA, UNANSWERED), now)));
        assert_eq!(traffic.call(call(":1.8", 0), now), Verdict::Take);
        let halt = Call {
            halts: true,
            ..call(ANNA, UNANSWERED)
        };
        assert_eq!(traffic.call(halt, now), Verdict::Take);
        traffic.reply(ANNA, serial(0), 100, now);
        assert_eq!(traffic.call(call(ANNA, 0), now), Verdict::Take);
    }

    #[test]
    fn a_client_that_does_not_read_gets_no_more_than_its_budget_and_is_still_obeyed_when_it_halts()
    {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        let sent = unread(&mut traffic, ANNA, 10_000, now);
        assert!((BUDGET..2 * BUDGET).contains(&sent), "{sent}");
        let halt = Call {
            halts: true,
            ..call(ANNA, 1)
        };
        assert_eq!(traffic.call(halt, now), Verdict::Take);
        assert_eq!(traffic.reply(ANNA, serial(1), 100, now), Parting::Spare);
    }

    #[test]
    fn who_answers_a_ping_has_read_what_came_before_it() {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        let mut pings = 0;
        for number in 0..10_000 {
            assert_eq!(traffic.call(call(ANNA, number), now), Verdict::Take);
            if traffic.reply(ANNA, serial(number), 10_000, now) == Parting::SendAndPing {
                pings += 1;
                traffic.pinged(ANNA, serial(pings));
                traffic.answered(ANNA, serial(pings + 1));
                traffic.answered(ANNA, serial(pings));
            }
        }
        assert!((180..200).contains(&pings), "{pings}");
    }

    #[test]
    fn who_cannot_answer_a_ping_gets_its_budget_back_slowly_up_to_its_share() {
        let (mut traffic, mut now) = (Traffic::default(), Instant::now());
        let mut sent = unread(&mut traffic, ANNA, 10_000, now);
        now += PATIENCE + Duration::from_secs(1);
        // From now on it counts as one that cannot. It may call as often as it likes.
        for _ in 0..100_000 {
            traffic.call(call(ANNA, 1), now);
            now += Duration::from_micros(200);
        }
        assert_eq!(traffic.call(call(ANNA, 1), now), Verdict::Take);
        for _ in 0..100 {
            now += Duration::from_mins(1);
            sent += unread(&mut traffic, ANNA, 10_000, now);
        }
        assert!((SHARE..SHARE + 2 * BUDGET).contains(&sent), "{sent}");
    }

    #[test]
    fn many_that_do_not_read_leave_room_for_who_uses_little() {
        for bytes in [10_000, 500_000, 4_000_000] {
            many_unread(bytes);
        }
    }

    fn many_unread(bytes: usize) {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        let names: Vec<_> = (0..1000).map(|it| format!(":2.{it}")).collect();
        let sent: usize = names
            .iter()
            .map(|it| unread(&mut traffic, it, bytes, now))
            .sum();
        assert!(sent < 127 << 20, "{sent} of {bytes} each");
        assert_eq!(traffic.call(call(ANNA, 0), now), Verdict::Take);
        assert_eq!(traffic.reply(ANNA, serial(0), 100, now), Parting::Send);
        for name in &names {
            traffic.left(name);
        }
        assert_eq!(traffic.unread, 100);
    }

    #[test]
    fn descriptors_and_large_calls_under_way_are_bounded_in_all() {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        let names: Vec<_> = (0..200).map(|it| format!(":2.{it}")).collect();
        let (mut large, mut full) = (0, 0);
        for name in &names {
            let bytes = 1 << 20;
            let call = call(name, 0);
            large += usize::from(traffic.call(Call { bytes, ..call }, now) == Verdict::Take);
            let serial = serial(1);
            let descriptors = 2;
            let call = Call {
                serial,
                descriptors,
                ..call
            };
            full += usize::from(traffic.call(call, now) == Verdict::Take);
        }
        assert!((60..=64).contains(&large), "{large}");
        assert_eq!(full, 128);
        assert_eq!(traffic.call(call(ANNA, 0), now), Verdict::Take);
        for name in &names {
            traffic.left(name);
        }
        assert_eq!((traffic.bytes, traffic.descriptors), (200, 0));
    }

    #[test]
    fn calls_that_want_no_reply_come_so_many_a_second_and_halts_always() {
        let (mut traffic, mut now) = (Traffic::default(), Instant::now());
        let silent = Call {
            wants_reply: false,
            ..call(ANNA, 0)
        };
        let mut taken = |now| {
            (0..1000)
                .filter(|_| traffic.call(silent, now) == Verdict::Take)
                .count()
        };
        assert_eq!(taken(now), 64);
        now += Duration::from_secs(1);
        assert_eq!(taken(now), 32);
        let halt = Call {
            halts: true,
            ..silent
        };
        assert_eq!(traffic.call(halt, now), Verdict::Take);
        now += Duration::from_mins(1);
        let large = Call {
            bytes: SMALL + 1,
            ..silent
        };
        let with_file = Call {
            descriptors: 1,
            ..silent
        };
        for call in [large, with_file] {
            assert_eq!(traffic.call(call, now), Verdict::Ignore);
        }
        assert_eq!((traffic.bytes, traffic.descriptors), (0, 0));
    }
}
