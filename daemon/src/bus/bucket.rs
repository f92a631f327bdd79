//! How often something may happen: a token bucket.

use std::time::{Duration, Instant};

/// It holds tokens up to a number, is filled at a steady rate, and starts full. Each event takes one.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: f64,
    most: f64,
    a_second: f64,
    seen: Instant,
}

impl Bucket {
    /// A full one. So many events may happen at once, and so many more every second.
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

    /// When there is a token.
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
