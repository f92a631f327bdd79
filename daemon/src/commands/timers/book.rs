//! Which timers there are, and which have rung: pure steps, that take the time and own no clock.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::moment::Moment;

/// Most timers at once.
pub const MOST: usize = 128;

/// Longest time after which a timer may ring, and time by which one may be late to ring at all: after that it is told, but
/// nothing rings.
pub const LONGEST: Duration = Duration::from_hours(24 * 31);
const STALE: Duration = Duration::from_mins(30);

/// When a timer rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Due {
    /// After a time, however the clock is set meanwhile. `by` is when that is by the clock, in case the machine is started
    /// again.
    In {
        /// Time since `boot` started.
        uptime: Duration,
        /// The start of the machine that the time counts from.
        boot: u64,
        /// The same by the clock.
        by: SystemTime,
    },
    /// At a time of the clock, however it is set.
    At(SystemTime),
}

impl Due {
    /// Time until it rings; zero if it is due.
    fn left(self, now: &Moment) -> Duration {
        match self {
            Self::In { uptime, boot, .. } if boot == now.boot => uptime.saturating_sub(now.uptime),
            Self::In { by: wall, .. } | Self::At(wall) => {
                wall.duration_since(now.wall).unwrap_or_default()
            }
        }
    }

    /// Time by which it is late; zero if it is not due yet.
    fn late(self, now: &Moment) -> Duration {
        match self {
            Self::In { uptime, boot, .. } if boot == now.boot => now.uptime.saturating_sub(uptime),
            Self::In { by: wall, .. } | Self::At(wall) => {
                now.wall.duration_since(wall).unwrap_or_default()
            }
        }
    }

    fn is_by_clock(self, now: &Moment) -> bool {
        !matches!(self, Self::In { boot, .. } if boot == now.boot)
    }
}

/// A timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Its number, unique while the daemon runs.
    pub id: u64,
    /// Its name; empty if it has none.
    pub name: String,
    /// When it rings.
    pub due: Due,
}

impl Timer {
    /// Whether it follows the clock.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        matches!(self.due, Due::At(_))
    }

    /// Whether it is meant by this name; without one, each is.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        name.is_empty() || self.name.eq_ignore_ascii_case(name)
    }
}

/// A timer that rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The timer.
    pub timer: Timer,
    /// Whether it is too late to make a sound: the machine was off.
    pub is_missed: bool,
}

/// Longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// Whether this may be a timer's name: none, or a line of visible text.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && gemmad_text::check(name).is_ok()
}

/// Why there is no such timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimerError {
    /// There are too many.
    #[error("there are {MOST} timers already; cancel one")]
    TooMany,
    /// It would ring too late.
    #[error("a timer rings within 31 days")]
    TooLong,
    /// None is meant.
    #[error("there is no such timer")]
    Unknown,
    /// The name is none.
    #[error("the name of a timer is at most {LONGEST_NAME} bytes of visible text on one line")]
    Name,
}

/// All timers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    timers: Vec<Timer>,
    last: u64,
}

impl Book {
    /// The same without the timers that could not have been set, as a file may hold: too many, too far away, or with names
    /// that are no visible text. Their numbers are given anew.
    pub fn checked(self, now: &Moment) -> Self {
        let is_sound = |it: &Timer| it.due.left(now) <= LONGEST && is_name(&it.name);
        let sound = self.timers.into_iter().filter(is_sound).take(MOST);
        let timers: Vec<_> = (1..)
            .zip(sound)
            .map(|(id, timer)| Timer { id, ..timer })
            .collect();
        let last = timers.len() as u64;
        Self { timers, last }
    }

    /// Sets a timer that rings after `time`.
    ///
    /// # Errors
    /// [`TimerError::TooMany`] or [`TimerError::TooLong`].
    pub fn set(&mut self, name: &str, time: Duration, now: &Moment) -> Result<Timer, TimerError> {
        if time > LONGEST {
            return Err(TimerError::TooLong);
        }
        self.add(
            name,
            Due::In {
                uptime: now.uptime + time,
                boot: now.boot,
                by: now.wall + time,
            },
        )
    }

    /// Sets an alarm that rings at a time of the clock.
    ///
    /// # Errors
    /// [`TimerError::TooMany`] or [`TimerError::TooLong`].
    pub fn set_at(
        &mut self,
        name: &str,
        time: SystemTime,
        now: &Moment,
    ) -> Result<Timer, TimerError> {
        if time.duration_since(now.wall).unwrap_or_default() > LONGEST {
            return Err(TimerError::TooLong);
        }
        self.add(name, Due::At(time))
    }

    fn add(&mut self, name: &str, due: Due) -> Result<Timer, TimerError> {
        if !is_name(name) {
            return Err(TimerError::Name);
        }
        if self.timers.len() >= MOST {
            return Err(TimerError::TooMany);
        }
        // A number is used again after as many timers as nobody sets.
        self.last = self.last.wrapping_add(1);
        let timer = Timer {
            id: self.last,
            name: name.into(),
            due,
        };
        self.timers.push(timer.clone());
        Ok(timer)
    }

    /// Cancels timer number `id`.
    ///
    /// # Errors
    /// [`TimerError::Unknown`].
    pub fn cancel(&mut self, id: u64) -> Result<Timer, TimerError> {
        let place = self.timers.iter().position(|it| it.id == id);
        let place = place.ok_or(TimerError::Unknown)?;
        Ok(self.timers.remove(place))
    }

    /// Cancels the timers that are meant; returns them.
    pub fn cancel_those(&mut self, is_meant: impl Fn(&Timer) -> bool) -> Vec<Timer> {
        self.timers.extract_if(.., |it| is_meant(it)).collect()
    }

    /// The timers and the time left until each rings, the first to ring first.
    pub fn left(&self, now: &Moment) -> Vec<(Timer, Duration)> {
        let left = |it: &Timer| (it.clone(), it.due.left(now));
        let mut all: Vec<_> = self.timers.iter().map(left).collect();
        all.sort_by_key(|(_, left)| *left);
        all
    }

    /// Takes out the timers that ring now.
    pub fn ring(&mut self, now: &Moment) -> Vec<Rung> {
        let is_due = |it: &mut Timer| it.due.left(now).is_zero();
        let due = self.timers.extract_if(.., is_due);
        let rung = due.map(|timer| Rung {
            is_missed: timer.due.late(now) > STALE,
            timer,
        });
        rung.collect()
    }

    /// Time until the next rings, for those that count from the start of the machine and those of the clock.
    pub fn next(&self, now: &Moment) -> (Option<Duration>, Option<Duration>) {
        let left = |by_clock: bool| {
            let meant = self
                .timers
                .iter()
                .filter(|it| it.due.is_by_clock(now) == by_clock);
            meant.map(|it| it.due.left(now)).min()
        };
        (left(false), left(true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// A machine whose clock and uptime are simulated.
    #[derive(Debug, Clone)]
    struct Machine(Moment);

    impl Machine {
        fn new() -> Self {
            Self(Moment {
                uptime: Duration::from_secs(100),
                boot: 1,
                wall: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
            })
        }

        /// Lets time pass, also while the machine sleeps.
        fn pass(&mut self, time: Duration) {
            self.0.uptime += time;
            self.0.wall += time;
        }

        fn restart(&mut self, off: Duration) {
            self.0.wall += off;
            self.0.boot += 1;
            self.0.uptime = Duration::from_secs(5);
        }
    }

    fn names(rung: &[Rung]) -> Vec<&str> {
        rung.iter().map(|it| it.timer.name.as_str()).collect()
    }

    #[test]
    fn a_timer_counts_time_and_an_alarm_follows_the_clock() {
        let mut machine = Machine::new();
        let mut book = Book::default();
        let now = machine.0.clone();
        book.set("tea", HOUR * 2, &now).unwrap();
        book.set_at("wake", now.wall + HOUR * 2, &now).unwrap();
        // The clock is set forward: the alarm is nearer.
        machine.0.wall += HOUR;
        assert_eq!(book.next(&machine.0), (Some(HOUR * 2), Some(HOUR)));
        machine.pass(HOUR);
        assert_eq!(names(&book.ring(&machine.0)), ["wake"]);
        // Backward: nothing rings a second time.
        machine.0.wall -= HOUR;
        assert!(book.ring(&machine.0).is_empty());
        machine.pass(HOUR);
        assert_eq!(names(&book.ring(&machine.0)), ["tea"]);
        assert!(book.left(&machine.0).is_empty());
    }

    #[test]
    fn a_timer_goes_on_over_a_restart_of_the_machine_by_the_clock() {
        let mut machine = Machine::new();
        let mut book = Book::default();
        book.set("tea", HOUR, &machine.0).unwrap();
        machine.restart(HOUR / 2);
        assert_eq!(book.next(&machine.0), (None, Some(HOUR / 2)));
        machine.pass(HOUR / 2);
        let rung = book.ring(&machine.0);
        assert_eq!((names(&rung), rung[0].is_missed), (vec!["tea"], false));
    }

    #[test]
    fn a_timer_that_should_have_rung_long_ago_is_told_without_a_sound() {
        let mut machine = Machine::new();
        let mut book = Book::default();
        book.set("tea", HOUR, &machine.0).unwrap();
        machine.restart(HOUR * 3);
        assert!(book.ring(&machine.0)[0].is_missed);
    }

    #[test]
    fn timers_are_cancelled_by_name_by_number_or_all() {
        let now = Machine::new().0;
        let mut book = Book::default();
        for name in ["tea", "Tea", "eggs", ""] {
            book.set(name, HOUR, &now).unwrap();
        }
        let of_name = |name: &'static str| move |it: &Timer| it.is_called(name);
        assert_eq!(book.cancel_those(of_name("tea")).len(), 2);
        assert_eq!(book.cancel(3).unwrap().name, "eggs");
        assert_eq!(book.cancel(3), Err(TimerError::Unknown));
        assert_eq!(book.cancel_those(of_name("")).len(), 1);
        assert_eq!(book.set("x", LONGEST * 2, &now), Err(TimerError::TooLong));
        (0..MOST).for_each(|_| drop(book.set("x", HOUR, &now).unwrap()));
        assert_eq!(book.set("x", HOUR, &now), Err(TimerError::TooMany));
    }

    #[test]
    fn timers_of_a_strange_file_are_left_out() {
        let machine = Machine::new();
        let mut book = Book::default();
        book.set("tea", HOUR, &machine.0).unwrap();
        book.set("eggs", HOUR, &machine.0).unwrap();
        book.last = u64::MAX;
        book.timers[1].id = 1;
        for name in ["\u{1b}[2J", &"x".repeat(65)] {
            book.timers.push(Timer {
                name: name.into(),
                ..book.timers[0].clone()
            });
        }
        book.timers.push(Timer {
            due: Due::At(machine.0.wall + LONGEST * 1000),
            ..book.timers[0].clone()
        });
        let mut checked = book.checked(&machine.0);
        let ids = |it: &Book| it.timers.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(&checked), [1, 2]);
        checked.set("bread", HOUR, &machine.0).unwrap();
        assert_eq!(ids(&checked), [1, 2, 3]);
    }

    #[derive(Debug, Clone)]
    enum Move {
        Set(u64),
        Alarm(u64),
        Pass(u64),
        Jump(i64),
        Restart(u64),
        Reload,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            (1..5000_u64).prop_map(Move::Set),
            (1..5000_u64).prop_map(Move::Alarm),
            (1..3000_u64).prop_map(Move::Pass),
            (-3600..3600_i64).prop_map(Move::Jump),
            (1..3000_u64).prop_map(Move::Restart),
            Just(Move::Reload),
        ];
        prop::collection::vec(one, 1..100)
    }

    proptest! {
        #[test]
        fn whatever_happens_each_rings_once_and_not_early(moves in moves()) {
            let mut machine = Machine::new();
            let mut book = Book::default();
            let mut waiting = std::collections::BTreeMap::new();
            for step in moves {
                match step {
                    Move::Set(seconds) => {
                        if let Ok(timer) = book.set("", Duration::from_secs(seconds), &machine.0) {
                            waiting.insert(timer.id, timer.due);
                        }
                    }
                    Move::Alarm(seconds) => {
                        let time = machine.0.wall + Duration::from_secs(seconds);
                        if let Ok(timer) = book.set_at("", time, &machine.0) {
                            waiting.insert(timer.id, timer.due);
                        }
                    }
                    Move::Pass(seconds) => machine.pass(Duration::from_secs(seconds)),
                    Move::Jump(seconds) if seconds < 0 => {
                        machine.0.wall -= Duration::from_secs(seconds.unsigned_abs());
                    }
                    Move::Jump(seconds) => {
                        machine.0.wall += Duration::from_secs(seconds.unsigned_abs());
                    }
                    Move::Restart(seconds) => machine.restart(Duration::from_secs(seconds)),
                    Move::Reload => {
                        let kept = serde_json::to_string(&book).unwrap();
                        book = serde_json::from_str(&kept).unwrap();
                    }
                }
                for rung in book.ring(&machine.0) {
                    let due = waiting.remove(&rung.timer.id);
                    prop_assert!(due.is_some(), "it rang twice");
                    prop_assert_eq!(due.unwrap().left(&machine.0), Duration::ZERO);
                }
                let late = waiting.values().any(|due| due.left(&machine.0).is_zero());
                prop_assert!(!late, "one is late");
            }
            machine.pass(LONGEST);
            prop_assert_eq!(book.ring(&machine.0).len(), waiting.len());
        }
    }
}
