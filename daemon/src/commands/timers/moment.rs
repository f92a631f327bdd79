//! A moment, by the clock and by the time since the machine was started.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Time since the start of the machine, also while it slept.
    pub uptime: Duration,
    /// The number of that start.
    pub boot: u64,
    /// The time of the clock.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let uptime = clock_gettime(ClockId::Boottime);
        // Neither is negative, and there are fewer than 10^9 nanoseconds.
        let seconds = u64::try_from(uptime.tv_sec).unwrap_or(0);
        let nanoseconds = u32::try_from(uptime.tv_nsec).unwrap_or(0);
        Self {
            uptime: Duration::new(seconds, nanoseconds),
            boot: *BOOT,
            wall: SystemTime::now(),
        }
    }
}

/// The number of the start under which this process runs.
static BOOT: LazyLock<u64> = LazyLock::new(boot);

/// The kernel's random number of this start; 0 where it has none, so that all starts are one.
fn boot() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits = text.chars().filter(char::is_ascii_hexdigit).take(16);
    u64::from_str_radix(&digits.collect::<String>(), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_on_both_clocks_of_one_start() {
        let before = Moment::now();
        let after = Moment::now();
        assert!(after.uptime >= before.uptime && before.uptime > Duration::ZERO);
        assert_eq!((before.boot, before.boot == 0), (after.boot, false));
    }
}
