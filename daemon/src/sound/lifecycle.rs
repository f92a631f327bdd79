//! The lifecycle of a device: opened on demand, watched while open, and opened again after a loss.
//!
//! No device and no clock: every input carries its time, and its effects are returned.

use std::time::{Duration, Instant};

/// Time without sound after which an open device counts as lost, whatever the sound system reports.
const SILENT: Duration = Duration::from_secs(2);

/// Time after which an unanswered attempt to open a device is reported, and after which an opened device that has moved
/// no sound yet is given up.
pub const SLOW: Duration = Duration::from_secs(5);

/// Pause before the first retry; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The state of a device, open or closed as wanted.
#[derive(Debug)]
pub struct Lifecycle {
    state: State,
    /// Pause before the next attempt.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not wanted.
    Closed,
    /// Retried at that time.
    Waiting(Instant),
    /// Being opened since then.
    Opening(Instant),
    /// The same, and reported to be slow.
    Late,
    /// Open since then, but no sound has moved yet: the device may exist in name only.
    Opened(Instant),
    /// Sound moves; it was last seen to at that time.
    Sounding(Instant),
}

/// An event in the life of a device.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// It is wanted.
    Open,
    /// It is not wanted any more.
    Close,
    /// It was opened.
    Opened,
    /// It could not be opened, or has failed.
    Failed,
    /// It is open.
    Seen {
        /// When sound last moved; before any did, when it was opened.
        moved: Instant,
        /// Whether any sound has moved.
        has_moved: bool,
    },
    /// Time has passed.
    Passed,
}

/// A consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Starts to open it.
    Start,
    /// Closes it, or stops opening it.
    Close,
    /// Reports that it is in use.
    Found,
    /// Reports that it is in use no longer.
    Gone,
    /// Reports that the sound system does not answer.
    Slow,
    /// Reports that no sound has moved for this time. It is closed next.
    Silent(Duration),
}

impl Lifecycle {
    /// A closed device.
    pub fn new() -> Self {
        Self {
            state: State::Closed,
            pause: FIRST_PAUSE,
        }
    }

    /// Takes an event that happened at `now`, and returns its consequences in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        match (self.state, input) {
            (State::Closed, Input::Open) => {
                self.pause = FIRST_PAUSE;
                self.start(now)
            }
            (_, Input::Close) => self.leave(State::Closed),
            (State::Waiting(until), Input::Passed) if until <= now => self.start(now),
            (State::Opening(since), Input::Passed) if since + SLOW <= now => {
                self.state = State::Late;
                vec![Effect::Slow]
            }
            (State::Opening(_) | State::Late, Input::Opened) => {
                self.state = State::Opened(now);
                vec![]
            }
            (
                State::Opening(_) | State::Late | State::Opened(_) | State::Sounding(_),
                Input::Failed,
            ) => self.fail(now),
            (State::Opened(_), Input::Seen { moved, .. }) if moved + SLOW <= now => {
                self.fall_silent(now, moved)
            }
            (State::Sounding(_), Input::Seen { moved, .. }) if moved + SILENT <= now => {
                self.fall_silent(now, moved)
            }
            (State::Opened(_), Input::Seen { moved, has_moved }) => {
                if has_moved {
                    self.pause = FIRST_PAUSE;
                    self.state = State::Sounding(moved);
                    return vec![Effect::Found];
                }
                self.state = State::Opened(moved);
                vec![]
            }
            (State::Sounding(_), Input::Seen { moved, .. }) => {
                self.state = State::Sounding(moved);
                vec![]
            }
            _ => vec![],
        }
    }

    /// When the device is due for the next look, if nothing wakes the thread before.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            // Once it is reported to be slow, only the outcome matters, and that wakes the thread.
            State::Closed | State::Late => None,
            State::Waiting(until) => Some(until),
            State::Opening(since) => Some(since + SLOW),
            State::Opened(moved) => Some(moved + SLOW),
            State::Sounding(moved) => Some(moved + SILENT),
        }
    }

    fn start(&mut self, now: Instant) -> Vec<Effect> {
        self.state = State::Opening(now);
        vec![Effect::Start]
    }

    fn fall_silent(&mut self, now: Instant, moved: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Silent(now - moved)];
        effects.extend(self.fail(now));
        effects
    }

    fn fail(&mut self, now: Instant) -> Vec<Effect> {
        let pause = self.pause;
        self.pause = (2 * pause).min(LONGEST_PAUSE);
        self.leave(State::Waiting(now + pause))
    }

    fn leave(&mut self, state: State) -> Vec<Effect> {
        match std::mem::replace(&mut self.state, state) {
            State::Closed | State::Waiting(_) => vec![],
            State::Opening(_) | State::Late | State::Opened(_) => vec![Effect::Close],
            State::Sounding(_) => vec![Effect::Close, Effect::Gone],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_device_that_is_refused_is_tried_again_after_longer_and_longer_pauses() {
        let mut device = Lifecycle::new();
        let mut now = Instant::now();
        assert_eq!(device.step(now, Input::Open), [Effect::Start]);
        let mut pauses = vec![];
        for _ in 0..6 {
            assert_eq!(device.step(now, Input::Failed), [Effect::Close]);
            let until = device.deadline().unwrap();
            pauses.push((until - now).as_millis());
            let early = now + (until - now) * 99 / 100;
            assert_eq!(device.step(early, Input::Passed), []);
            assert_eq!(device.step(until, Input::Passed), [Effect::Start]);
            now = until;
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn a_sound_system_that_does_not_answer_is_reported_once_and_may_still_answer() {
        let mut device = Lifecycle::new();
        let begin = Instant::now();
        device.step(begin, Input::Open);
        assert_eq!(device.deadline(), Some(begin + SLOW));
        assert_eq!(device.step(begin + SLOW, Input::Passed), [Effect::Slow]);
        assert_eq!(device.deadline(), None);
        assert_eq!(device.step(begin + 9 * SECOND, Input::Passed), []);
        assert_eq!(device.step(begin + 10 * SECOND, Input::Opened), []);
        let seen = Input::Seen {
            moved: begin + 11 * SECOND,
            has_moved: true,
        };
        assert_eq!(device.step(begin + 11 * SECOND, seen), [Effect::Found]);
    }

    #[test]
    fn a_device_that_falls_silent_is_lost_and_one_that_never_sounded_gets_longer() {
        let begin = Instant::now();
        for (has_moved, patience) in [(true, SILENT), (false, SLOW)] {
            let mut device = Lifecycle::new();
            device.step(begin, Input::Open);
            device.step(begin, Input::Opened);
            let seen = Input::Seen {
                moved: begin,
                has_moved,
            };
            device.step(begin, seen);
            let end = begin + patience;
            assert_eq!(device.deadline(), Some(end));
            assert_eq!(device.step(begin + patience * 99 / 100, seen), []);
            let effects = device.step(end, seen);
            assert_eq!(effects[..2], [Effect::Silent(patience), Effect::Close]);
            assert_eq!(effects.contains(&Effect::Gone), has_moved);
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Kind {
        Open,
        Close,
        Opened,
        Failed,
        /// Sound last moved these ms ago.
        Seen(u64, bool),
        Passed,
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Open),
            Just(Kind::Close),
            Just(Kind::Opened),
            Just(Kind::Failed),
            (0..6000_u64, any::<bool>()).prop_map(|(ago, has)| Kind::Seen(ago, has)),
            Just(Kind::Passed),
        ]
    }

    proptest! {
        #[test]
        fn it_is_opened_only_while_closed_and_wanted_and_reports_alternate(
            steps in vec((0..3000_u64, kinds()), 0..60),
        ) {
            let mut device = Lifecycle::new();
            let begin = Instant::now();
            let mut now = begin + 10 * SECOND;
            let (mut is_wanted, mut is_open, mut is_found) = (false, false, false);
            for (later, kind) in steps {
                now += Duration::from_millis(later);
                let input = match kind {
                    Kind::Open => Input::Open,
                    Kind::Close => Input::Close,
                    Kind::Opened => Input::Opened,
                    Kind::Failed => Input::Failed,
                    Kind::Seen(ago, has_moved) => Input::Seen {
                        moved: begin + (now - begin).saturating_sub(Duration::from_millis(ago)),
                        has_moved,
                    },
                    Kind::Passed => Input::Passed,
                };
                is_wanted = match kind {
                    Kind::Open => true,
                    Kind::Close => false,
                    _ => is_wanted,
                };
                for effect in device.step(now, input) {
                    match effect {
                        Effect::Start => {
                            prop_assert!(is_wanted && !is_open);
                            is_open = true;
                        }
                        Effect::Close => {
                            prop_assert!(is_open);
                            is_open = false;
                        }
                        Effect::Found => {
                            prop_assert!(is_open && !is_found);
                            is_found = true;
                        }
                        Effect::Gone => {
                            prop_assert!(!is_open && is_found);
                            is_found = false;
                        }
                        Effect::Slow => prop_assert!(is_open),
                        Effect::Silent(silence) => prop_assert!(silence >= SILENT),
                    }
                }
                prop_assert!(is_open || !is_found);
                // A device that is wanted and not open is due some time.
                prop_assert!(!is_wanted || is_open || device.deadline().is_some());
            }
        }
    }
}
