//! Times as people say them, in English.

use std::time::{Duration, SystemTime};

use jiff::Zoned;
use jiff::tz::TimeZone;

/// A length of time in its two largest units: `2 hours 5 minutes`. It is rounded up to seconds.
#[must_use]
pub fn length(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000);
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let named = |(number, unit): &(u128, &str)| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    let first = parts.iter().position(|(number, _)| *number > 0);
    let largest = parts[first.unwrap_or(3)..].iter().take(2);
    let told: Vec<_> = largest.filter(|it| it.0 > 0).map(named).collect();
    if told.is_empty() {
        named(&parts[3])
    } else {
        told.join(" ")
    }
}

/// The time of day at `time` in this machine's time zone: `6:30 am`.
#[must_use]
pub fn clock(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| "an unknown time".into(),
        |it| clock_of(&it.to_zoned(TimeZone::system())),
    )
}

fn clock_of(time: &Zoned) -> String {
    let half = if time.hour() < 12 { "am" } else { "pm" };
    let hour = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    format!("{hour}:{:02} {half}", time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_in_their_two_largest_units() {
        let said = |seconds| length(Duration::from_secs(seconds));
        assert_eq!(said(0), "0 seconds");
        assert_eq!(said(1), "1 second");
        assert_eq!(said(600), "10 minutes");
        assert_eq!(said(3661), "1 hour 1 minute");
        assert_eq!(said(3601), "1 hour");
        assert_eq!(said(2 * 86_400 + 3600), "2 days 1 hour");
        assert_eq!(length(Duration::from_millis(59_001)), "1 minute");
    }

    #[test]
    fn times_of_day_have_twelve_hours_twice() {
        let said = |text: &str| clock_of(&text.parse().unwrap());
        assert_eq!(said("2026-12-01T06:30[UTC]"), "6:30 am");
        assert_eq!(said("2026-12-01T00:05[UTC]"), "12:05 am");
        assert_eq!(said("2026-12-01T12:00[UTC]"), "12:00 pm");
        assert_eq!(said("2026-12-01T23:59[UTC]"), "11:59 pm");
    }
}
