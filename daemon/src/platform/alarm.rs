//! Alarms of the kernel: exact, also over the sleep of the machine, and told when its clock is set.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An alarm that rings once after a time.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    flags: TimerfdTimerFlags,
    clock: Clock,
}

/// What an alarm follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The time since the machine was started, also while it slept.
    Uptime,
    /// The clock. The alarm rings also when that is set.
    Wall,
}

impl Alarm {
    /// An alarm that is not set. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system has no timer to give.
    pub fn new(clock: Clock) -> io::Result<Self> {
        let (id, flags) = match clock {
            Clock::Uptime => (TimerfdClockId::Boottime, TimerfdTimerFlags::ABSTIME),
            Clock::Wall => (
                TimerfdClockId::Realtime,
                TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            ),
        };
        let timer = timerfd_create(id, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // Its replacement is an unsafe function, for descriptors that other code may close; this one is owned.
        #[allow(deprecated)]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self {
            timer,
            flags,
            clock,
        })
    }

    /// Sets it to `time` since the start of the machine, or since 1970 by the clock; `None`: it does not ring.
    ///
    /// # Errors
    /// Never, for a time within the next centuries.
    pub fn set(&self, time: Option<Duration>) -> io::Result<()> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // One nanosecond, because zero would switch it off.
        let value = time.map(|it| Timespec {
            tv_sec: i64::try_from(it.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: it.subsec_nanos().max(u32::from(it.as_secs() == 0)).into(),
        });
        let setting = Itimerspec {
            it_interval: zero,
            it_value: value.unwrap_or(zero),
        };
        match timerfd_settime(self.timer.get_ref(), self.flags, &setting) {
            // It is set. The clock was set too, since it rang last, so it rings at once.
            Ok(_) | Err(Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it rings, or until the clock that it follows is set. Cancel safe.
    pub async fn rings(&self) {
        let mut expired = [0; 8];
        let read = self.timer.async_io(Interest::READABLE, |timer| {
            match rustix::io::read(timer, &mut expired) {
                // The clock was set.
                Ok(_) | Err(Errno::CANCELED) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        if let Err(error) = read.await {
            log::error!("an alarm cannot be awaited ({:?}): {error}", self.clock);
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use rustix::time::{ClockId, clock_gettime};
    use tokio::time::timeout;

    use super::*;

    fn uptime() -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(
            now.tv_sec.unsigned_abs(),
            u32::try_from(now.tv_nsec).unwrap(),
        )
    }

    #[tokio::test]
    async fn an_alarm_rings_once_at_its_time_and_not_after_it_was_taken_back() {
        for clock in [Clock::Uptime, Clock::Wall] {
            let alarm = Alarm::new(clock).unwrap();
            let now = || match clock {
                Clock::Uptime => uptime(),
                Clock::Wall => SystemTime::now().duration_since(UNIX_EPOCH).unwrap(),
            };
            let soon = Duration::from_millis(50);
            let begun = Instant::now();
            alarm.set(Some(now() + soon)).unwrap();
            alarm.rings().await;
            assert!(begun.elapsed() >= soon, "{clock:?}");
            assert!(timeout(soon, alarm.rings()).await.is_err(), "{clock:?}");
            alarm.set(Some(now() + soon)).unwrap();
            alarm.set(None).unwrap();
            assert!(timeout(2 * soon, alarm.rings()).await.is_err(), "{clock:?}");
            // The past is now.
            alarm.set(Some(Duration::ZERO)).unwrap();
            alarm.rings().await;
        }
    }
}
