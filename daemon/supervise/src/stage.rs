//! Which signal is due, and when.

use std::time::{Duration, Instant};

use gemmad_supervise::GRACE;
use rustix::process::Signal;

/// First and longest pause between two SIGKILLs to the remaining processes, if no child ends meanwhile; the pause
/// doubles each time. A process that waits for a disk ends only when the disk answers.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// Stage of the program's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It runs.
    Running,
    /// It got SIGTERM and is killed at this time.
    Ending(Instant),
    /// The remaining processes got SIGKILL and get it again after this pause.
    Killing(Duration),
}

impl Stage {
    /// Advances after an event or after [`Stage::patience`]; returns the signal that is due.
    pub fn step(&mut self, has_to_end: bool, has_ended: bool, now: Instant) -> Option<Signal> {
        let (next, due) = match *self {
            // Processes left behind get no grace: they were not asked to end, and may hold the output open for its
            // reader.
            Self::Running if has_ended => (Self::Killing(PAUSES[0]), Some(Signal::KILL)),
            Self::Running if has_to_end => (Self::Ending(now + GRACE), Some(Signal::TERM)),
            Self::Ending(end) if now >= end => (Self::Killing(PAUSES[0]), Some(Signal::KILL)),
            Self::Killing(pause) => (Self::Killing(PAUSES[1].min(pause * 2)), Some(Signal::KILL)),
            same => (same, None),
        };
        *self = next;
        due
    }

    /// Longest wait for an event; `None`: unlimited.
    pub fn patience(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Running => None,
            Self::Ending(end) => Some(end.saturating_duration_since(now)),
            Self::Killing(pause) => Some(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_has_to_end_gets_its_grace_even_if_only_its_children_need_it() {
        let mut stage = Stage::Running;
        let begin = Instant::now();
        assert_eq!(stage.step(false, false, begin), None);
        assert_eq!(stage.patience(begin), None);
        assert_eq!(stage.step(true, false, begin), Some(Signal::TERM));
        assert_eq!(stage.patience(begin), Some(GRACE));
        let early = begin + GRACE / 2;
        assert_eq!(stage.step(true, true, early), None);
        assert_eq!(stage.patience(early), Some(GRACE / 2));
        assert_eq!(stage.step(true, true, begin + GRACE), Some(Signal::KILL));
    }

    #[test]
    fn what_a_program_left_behind_is_killed_until_it_is_gone() {
        let mut stage = Stage::Running;
        let now = Instant::now();
        let mut waited = Duration::ZERO;
        for _ in 0..20 {
            assert_eq!(stage.step(false, true, now), Some(Signal::KILL));
            waited = stage.patience(now).unwrap();
        }
        assert_eq!(waited, PAUSES[1]);
    }
}
