//! Calls of clients that are not answered yet, and replies that clients may not have read.
//!
//! A bus keeps the messages that a client does not read. When it keeps too many of the daemon's, it stops reading
//! from the daemon, so one client that never reads could silence the daemon for all. So each client has a budget of
//! unread replies. When half of it is used, the daemon pings the client. The answer proves that the client has read all
//! replies before the ping, because a bus keeps the order, and the ping's serial number cannot be guessed. A client
//! that cannot answer, such as one without objects of its own, gets its budget back slowly, while there is room and it
//! has less than its share unread.
//!
//! Calls and their files cost memory and descriptors until they are answered, so both are counted. A call that wants no
//! reply is taken only if it is small and has no files. A call that halts is always obeyed; only its reply may be
//! dropped.
//!
//! The traffic is pure bookkeeping: it takes the time and reads no clock.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::bucket::Bucket;

/// Most unanswered calls of one client. Programs make one call after the other, or a handful at a time.
const UNANSWERED: usize = 64;

/// Most unanswered calls of one client that halt. All of them are one halt, so more would add nothing.
const HALTS: usize = 1024;

/// Most descriptors of unanswered calls of all clients: a quarter of those that a process may have.
const DESCRIPTORS: usize = 256;

/// Most bytes of unanswered calls of all clients. Beyond it, only calls up to [`SMALL`] are taken.
const BYTES: usize = 64 << 20;

/// Largest call, in bytes, that is taken even beyond [`BYTES`].
const SMALL: usize = 1 << 16;

/// Most bytes of replies that one client may leave unread.
const BUDGET: usize = 1 << 20;

/// Most bytes of replies that all clients may leave unread. The system bus stops reading from a sender with 127 MiB.
const BUDGET_OF_ALL: usize = 32 << 20;

/// Budget of a client, in bytes, while all clients leave too much unread. Also the bytes of refusals beyond a budget.
const LITTLE: usize = 1 << 14;

/// Most bytes of the refusal that replaces a reply for which there is no room.
const REFUSAL: usize = 1 << 10;

/// Longest wait for the answer to a ping. After it the client counts as one that cannot answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of its budget that a client that cannot answer gets back each second, while there is room for all.
const BACK: usize = 1 << 16;

/// Bytes of unread replies at which such a client gets nothing back any more, so that several of them leave room for
/// others.
const SHARE: usize = 4 << 20;

/// Most calls of one client in a row that want no reply, and the rate after that.
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

/// The decision about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// The call is answered with `Busy` and this reason.
    Refuse(&'static str),
    /// The call is dropped without an answer: the client reads none, or wants none and exceeds a limit.
    Ignore,
}

/// The decision about a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// It is sent, perhaps with a ping after it.
    Send { pings: bool },
    /// There is no room for it: a refusal is sent in its place, perhaps with a ping after it.
    Refuse { pings: bool },
    /// The client reads no replies.
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
    /// Limits the rate of calls that want no reply.
    unheard: Bucket,
    seen: Instant,
}

/// The cost of an unanswered call.
#[derive(Debug, Clone, Copy)]
struct Weight {
    bytes: usize,
    descriptors: usize,
    halts: bool,
}

/// A ping that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Ping {
    /// Its serial number; `None`: it is not made yet.
    serial: Option<NonZeroU32>,
    /// Bytes of the replies before it, which its answer proves to be read.
    proves: usize,
    since: Instant,
}

impl Traffic {
    /// Decides about a call that has arrived, and counts it if it is taken and wants a reply.
    pub(super) fn call(&mut self, call: Call<'_>, now: Instant) -> Verdict {
        if call.wants_reply {
            // A bus refuses a call with the serial of an unanswered one. If it did not, the earlier call would not count
            // any more.
            self.settle(call.sender, call.serial);
        }
        let crowded = call.bytes > SMALL && self.bytes + call.bytes > BYTES;
        let is_full = call.descriptors > 0 && self.descriptors + call.descriptors > DESCRIPTORS;
        let room = self.room();
        let client = self.clients.entry(call.sender.to_owned());
        let client = client.or_insert_with(|| Client::new(now));
        client.look(now, room);
        if !call.wants_reply {
            return client.unheard(&call, now);
        }
        let is_poor = client.used >= budget(room) && client.ping.is_some();
        let verdict = if call.halts && client.halts < HALTS {
            Verdict::Take
        } else if call.halts {
            Verdict::Refuse("too many of your halts are not answered yet")
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

    /// Decides about a reply of `bytes` bytes to the call `serial` of a client, which then counts as answered.
    pub(super) fn reply(
        &mut self,
        to: &str,
        serial: NonZeroU32,
        bytes: usize,
        now: Instant,
    ) -> Parting {
        self.settle(to, serial);
        let room = self.room();
        // The client has left, and the bus drops its reply.
        let Some(client) = self.clients.get_mut(to) else {
            return Parting::Send { pings: false };
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
        let is_due = !has_room || client.used >= budget(room) / 2;
        let pings = client.ping.is_none() && is_due;
        if pings {
            client.ping = Some(Ping {
                serial: None,
                proves: client.unread,
                since: now,
            });
        }
        if has_room {
            Parting::Send { pings }
        } else {
            Parting::Refuse { pings }
        }
    }

    /// Stops counting the call `serial` of a client: it is answered, or never will be.
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

    /// Notes the serial number of the ping for this client.
    pub(super) fn pinged(&mut self, client: &str, serial: NonZeroU32) {
        if let Some(ping) = self.clients.get_mut(client).and_then(|it| it.ping.as_mut()) {
            ping.serial = Some(serial);
        }
    }

    /// Notes that a client has answered a call of the daemon's, which may be the ping.
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

    /// Forgets a client that has left. The bus keeps nothing for it any more.
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

/// Bytes of replies that a client may leave unread, while there is this room for all clients.
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

    /// Accounts for the time since the last look: a client that cannot answer gets some of its budget back.
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

    /// Whether the client does not read even refusals.
    fn is_deaf(&self, room: usize) -> bool {
        self.ping.is_some() && self.used >= budget(room) + LITTLE
    }

    /// Decides about a call that wants no reply.
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

    /// The bytes sent to a client that makes call after call and never reads the replies of `bytes` each.
    fn unread(traffic: &mut Traffic, sender: &str, bytes: usize, now: Instant) -> usize {
        let mut sent = 0;
        for number in 0..100_000 {
            match traffic.call(call(sender, number), now) {
                Verdict::Ignore => return sent,
                Verdict::Take | Verdict::Refuse(_) => {
                    sent += match traffic.reply(sender, serial(number), bytes, now) {
                        Parting::Spare => 0,
                        Parting::Refuse { .. } => REFUSAL,
                        Parting::Send { .. } => bytes,
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
            let with_ping = Parting::Send { pings: true };
            if traffic.reply(ANNA, serial(number), 10_000, now) == with_ping {
                pings += 1;
                traffic.pinged(ANNA, serial(pings));
                traffic.answered(ANNA, serial(pings + 1));
                traffic.answered(ANNA, serial(pings));
            }
        }
        assert!((180..200).contains(&pings), "{pings}");
    }

    #[test]
    fn who_reads_is_served_also_when_others_have_left_no_room() {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        for number in 0..40 {
            assert_eq!(traffic.call(call(ANNA, number), now), Verdict::Take);
            let parting = traffic.reply(ANNA, serial(number), 10_000, now);
            assert_eq!(parting, Parting::Send { pings: false });
        }
        for name in (0..100).map(|it| format!(":2.{it}")) {
            unread(&mut traffic, &name, 500_000, now);
        }
        // It has read all of that, and was never asked.
        assert_eq!(traffic.room(), 0);
        assert_eq!(traffic.call(call(ANNA, 40), now), Verdict::Take);
        let parting = traffic.reply(ANNA, serial(40), 10_000, now);
        assert_eq!(parting, Parting::Refuse { pings: true });
        traffic.pinged(ANNA, serial(1));
        traffic.answered(ANNA, serial(1));
        assert_eq!(traffic.call(call(ANNA, 41), now), Verdict::Take);
        let parting = traffic.reply(ANNA, serial(41), 10_000, now);
        assert_eq!(parting, Parting::Send { pings: true });
    }

    #[test]
    fn who_cannot_answer_a_ping_gets_its_budget_back_slowly_up_to_its_share() {
        let (mut traffic, mut now) = (Traffic::default(), Instant::now());
        let mut sent = unread(&mut traffic, ANNA, 10_000, now);
        now += PATIENCE + Duration::from_secs(1);
        // From now on it counts as one that cannot answer, however often it calls.
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
        let parting = traffic.reply(ANNA, serial(0), 100, now);
        assert_eq!(parting, Parting::Send { pings: false });
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
