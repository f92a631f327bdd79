//! Whether memory is scarce. Then the engine gives back what it can do without, before the kernel ends gemmad: the context of
//! a long question, and cells of the shared one.

use std::time::{Duration, Instant};

use super::megabytes::Megabytes;
use crate::platform::memory::Look;

/// Bytes below which memory is scarce: half of what a model leaves free when it is loaded.
const LITTLE: u64 = 50_000_000;

/// Bytes from which it is not scarce any more: what was given back fits in again.
const ENOUGH: u64 = 300_000_000;

/// Share of the time in which some program waits for memory, from which it is scarce, and below which it is not any more.
const STALLED: f32 = 0.2;
const FLOWING: f32 = 0.05;

/// Why memory is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Scarcity {
    /// Little is free.
    #[error("memory is scarce: {0} are free; end other programs, or take a smaller model")]
    Little(Megabytes),
    /// Programs wait for it.
    #[error(
        "memory is scarce: programs wait for it {percent} % of the time; end some, or take a smaller model"
    )]
    Stalls {
        /// Share of the last ten seconds.
        percent: u8,
    },
}

/// How often memory is looked at, and for how long there has to be enough of it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time between two looks.
    pub look: Duration,
    /// Time with enough memory after which it is not scarce any more.
    pub calm: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(2),
            calm: Duration::from_secs(30),
        }
    }
}

/// A change of whether memory is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is from now on, for this reason.
    Scarce(Scarcity),
    /// It is not any more.
    Enough,
}

/// Decides whether memory is scarce.
#[derive(Debug)]
pub(super) struct Watch {
    calm: Duration,
    is_scarce: bool,
    /// Since when there has been enough.
    enough: Option<Instant>,
}

impl Watch {
    pub(super) fn new(calm: Duration) -> Self {
        Self {
            calm,
            is_scarce: false,
            enough: None,
        }
    }

    /// Takes a look. Returns what it changes.
    pub(super) fn step(&mut self, now: Instant, look: Look) -> Option<Change> {
        let free = look.free.unwrap_or(u64::MAX);
        let stalled = look.stalled.unwrap_or(0.0);
        if !self.is_scarce {
            let scarcity = scarcity(free, stalled)?;
            (self.is_scarce, self.enough) = (true, None);
            return Some(Change::Scarce(scarcity));
        }
        if free < ENOUGH || stalled >= FLOWING {
            self.enough = None;
            return None;
        }
        let since = *self.enough.get_or_insert(now);
        if now.duration_since(since) < self.calm {
            return None;
        }
        self.is_scarce = false;
        Some(Change::Enough)
    }
}

fn scarcity(free: u64, stalled: f32) -> Option<Scarcity> {
    if free < LITTLE {
        return Some(Scarcity::Little(Megabytes(free)));
    }
    // A share is 0 to 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let percent = (stalled * 100.0) as u8;
    (stalled >= STALLED).then_some(Scarcity::Stalls { percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Look = Look {
        free: Some(2_000_000_000),
        stalled: Some(0.0),
    };

    fn free(bytes: u64) -> Look {
        Look {
            free: Some(bytes),
            ..FREE
        }
    }

    fn stalled(share: f32) -> Look {
        Look {
            stalled: Some(share),
            ..FREE
        }
    }

    /// The changes that these looks make, one a second.
    fn changes(looks: &[Look]) -> Vec<(u64, Change)> {
        let begun = Instant::now();
        let mut watch = Watch::new(Duration::from_secs(3));
        let changes = (0..).zip(looks).filter_map(|(second, look)| {
            let changed = watch.step(begun + Duration::from_secs(second), *look)?;
            Some((second, changed))
        });
        changes.collect()
    }

    #[test]
    fn memory_is_scarce_from_little_of_it_until_there_has_been_enough_for_a_while() {
        let little = free(LITTLE - 1);
        let between = free(ENOUGH - 1);
        let looks = [
            FREE, little, between, FREE, FREE, between, FREE, FREE, FREE, FREE, between,
        ];
        let why = Scarcity::Little(Megabytes(LITTLE - 1));
        assert_eq!(
            changes(&looks),
            [(1, Change::Scarce(why)), (9, Change::Enough)]
        );
    }

    #[test]
    fn memory_is_scarce_while_programs_wait_for_it() {
        let looks = [
            stalled(0.1),
            stalled(0.31),
            stalled(0.1),
            FREE,
            FREE,
            FREE,
            FREE,
        ];
        let why = Scarcity::Stalls { percent: 31 };
        assert_eq!(
            changes(&looks),
            [(1, Change::Scarce(why)), (6, Change::Enough)]
        );
    }

    #[test]
    fn memory_of_which_nothing_is_known_is_not_scarce() {
        let unknown = Look {
            free: None,
            stalled: None,
        };
        assert_eq!(changes(&[unknown; 5]), []);
    }
}
