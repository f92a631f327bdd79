//! An action that tells the time or the date.

use std::time::SystemTime;

use jiff::Zoned;
use serde::Deserialize;

use crate::commands::timers;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The time of day.
    Time,
    /// The day of the week and the date.
    Date,
}

impl Clock {
    /// Tells it, in this machine's time zone.
    pub(super) fn tell(self) -> String {
        match self {
            Self::Time => format!("It is {}.", timers::clock(SystemTime::now())),
            Self::Date => date(&Zoned::now()),
        }
    }
}

fn date(now: &Zoned) -> String {
    format!("It is {}.", now.strftime("%A, %B %-d, %Y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_its_day_of_the_week() {
        let now = "2026-12-01T04:00[UTC]".parse().unwrap();
        assert_eq!(date(&now), "It is Tuesday, December 1, 2026.");
        assert!(Clock::Time.tell().ends_with("m."));
    }
}
