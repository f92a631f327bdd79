//! A token bucket, which limits the rate of events.

use std::time::{Duration, Instant};

/// A bucket of tokens. It starts full and is refilled at a steady rate up to its size. Each event takes a token.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: f64,
    most: f64,
    a_second: f64,
    seen: Instant,
}

impl Bucket {
    /// A full bucket, for `most` events at once and `a_second` more every second.
    pub(super) fn new(most: u32, a_second: u32, now: Instant) -> Self {
        let most = most.into();
        Self {
            tokens: most,
            most,
            a_second: a_second.into(),
            seen: now,
        }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.tokens = (passed * self.a_second + self.tokens).min(self.most);
        self.seen = self.seen.max(now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }

    /// The earliest time at which there is a token.
    pub(super) fn next(&self) -> Instant {
        let lacking = (1.0 - self.tokens).max(0.0);
        self.seen + Duration::from_secs_f64(lacking / self.a_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_events_happen_at_once_and_so_many_more_every_second() {
        let start = Instant::now();
        let mut now = start;
        let mut bucket = Bucket::new(8, 4, now);
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, now), 8);
        assert_eq!(bucket.next() - now, Duration::from_millis(250));
        now = bucket.next();
        assert_eq!(taken(&mut bucket, now), 1);
        now += Duration::from_mins(1);
        assert_eq!(taken(&mut bucket, now), 8);
        // A clock that is read out of order gives nothing.
        assert!(!bucket.take(start));
    }
}
