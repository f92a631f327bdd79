//! The date and the time, as the model is told.

use jiff::Zoned;

use crate::config;

/// The date and the time now, if the model is to be told.
#[must_use]
pub fn now(config: &config::Answer) -> Option<String> {
    config.clock.then(|| told(&Zoned::now()))
}

fn told(now: &Zoned) -> String {
    let told = now.strftime("%A, %B %-d, %Y, %H:%M");
    match now.time_zone().iana_name() {
        Some(zone) => format!("(It is {told} in the time zone {zone}.)"),
        None => format!("(It is {told}.)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_the_week_the_date_the_time_and_its_zone_are_told() {
        let now = "2026-12-01T04:05[Europe/Berlin]".parse().unwrap();
        assert_eq!(
            told(&now),
            "(It is Tuesday, December 1, 2026, 04:05 in the time zone Europe/Berlin.)"
        );
    }
}
