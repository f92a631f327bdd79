//! An action that sets, cancels or reads timers and alarms. What it needs to know it takes from parameters of these names:
//! `duration` and `unit`, or `hour` and `minute`; and `name`, if there is one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::{ToSpan, Zoned};
use serde::Deserialize;
use serde_json::Value;

use super::error::ActionError;
use super::job::Job;
use crate::commands::timers::{self, Timer, TimerError};
use crate::commands::{Kind, Name, Parameter};

/// What becomes of timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OfTimer {
    /// One is set, that rings after `duration` in `unit`.
    Start,
    /// One is set, that rings at `hour` and `minute`.
    Alarm,
    /// Timers called `name` are cancelled, or all. Alarms stay.
    Cancel,
    /// Alarms called `name` are cancelled, or all.
    #[serde(rename = "cancel-alarm")]
    CancelAlarm,
    /// The time that is left is told, of timers and alarms.
    Left,
}

/// Units of time, and their seconds.
const UNITS: [(&str, u64); 4] = [
    ("seconds", 1),
    ("minutes", 60),
    ("hours", 3600),
    ("days", 86_400),
];

impl OfTimer {
    /// Checks that there are the parameters that it needs, and no others.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let (needed, known): (&[&str], &[&str]) = match self {
            Self::Start => (&["duration", "unit"], &["duration", "unit", "name"]),
            Self::Alarm => (&["hour"], &["hour", "minute", "name"]),
            Self::Cancel | Self::CancelAlarm | Self::Left => (&[], &["name"]),
        };
        if let Some(missing) = needed.iter().find(|it| !parameters.contains_key(**it)) {
            return Err(format!("this `timer` action needs a parameter `{missing}`"));
        }
        for (name, parameter) in parameters {
            if !known.contains(&name.as_str()) {
                return Err(format!(
                    "this `timer` action does not use `{name}`, but {}",
                    known.join(", ")
                ));
            }
            let is_whole = |least: i64, most: i64| matches!(parameter.kind, Kind::Integer { min, max, .. } if min >= least && max <= most);
            let (fits, wanted) = match name.as_str() {
                "duration" => {
                    let is_number = match parameter.kind {
                        Kind::Integer { min, .. } => min >= 0,
                        Kind::Number { min, .. } => min >= 0.0,
                        _ => false,
                    };
                    (is_number, "a number from 0".to_owned())
                }
                "unit" => {
                    let units = UNITS.map(|(unit, _)| unit);
                    let fits = match &parameter.kind {
                        Kind::Enum(values) => values.iter().all(|it| units.contains(&it.as_str())),
                        _ => false,
                    };
                    (fits, format!("an enum of {}", units.join(", ")))
                }
                "hour" => (is_whole(0, 23), "an integer within 0 and 23".into()),
                "minute" => (is_whole(0, 59), "an integer within 0 and 59".into()),
                _ => {
                    let fits = matches!(parameter.kind, Kind::String { .. } | Kind::Enum(_));
                    (fits, "a string or an enum".into())
                }
            };
            if !fits {
                return Err(format!("for a `timer` action `{name}` is {wanted}"));
            }
        }
        Ok(())
    }

    /// Does it, and says so.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub(super) async fn run(self, job: Job<'_>) -> Result<String, ActionError> {
        let arguments = &job.call.arguments;
        let word = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or("");
        let name = word("name");
        let refused = |error: TimerError| ActionError::failed(error.to_string());
        match self {
            Self::Start => {
                let number = arguments.get("duration").and_then(Value::as_f64);
                let seconds = UNITS.iter().find(|(unit, _)| *unit == word("unit"));
                let (Some(number), Some((_, seconds))) = (number, seconds) else {
                    return Err(ActionError::failed("a duration and a unit are needed"));
                };
                let time = Duration::from_secs(*seconds).as_secs_f64() * number;
                let time =
                    Duration::try_from_secs_f64(time).map_err(|_| refused(TimerError::TooLong))?;
                job.timers.set(name, time).await.map_err(refused)?;
                Ok(format!(
                    "{} set for {}.",
                    called(name),
                    timers::length(time)
                ))
            }
            Self::Alarm => {
                let number = |name: &str| arguments.get(name).and_then(Value::as_i64);
                let (hour, minute) = (number("hour").unwrap_or(0), number("minute").unwrap_or(0));
                let time = next(&Zoned::now(), hour, minute)
                    .ok_or_else(|| ActionError::failed("there is no such time"))?;
                job.timers.set_at(name, time).await.map_err(refused)?;
                let what = if name.is_empty() { "Alarm" } else { name };
                Ok(format!("{what} set for {}.", timers::clock(time)))
            }
            Self::Cancel | Self::CancelAlarm => {
                let (alarms, what) = match self {
                    Self::Cancel => (false, "timer"),
                    _ => (true, "alarm"),
                };
                let is_meant = |it: &Timer| it.is_alarm() == alarms && it.is_called(name);
                Ok(match job.timers.cancel_those(is_meant).await.len() {
                    0 => format!("There is no {what}."),
                    1 => format!("The {what} is cancelled."),
                    several => format!("{several} {what}s are cancelled."),
                })
            }
            Self::Left => {
                let is_meant = |timer: &Timer| name.is_empty() || timer.name == name;
                let left = job.timers.left().into_iter();
                let told = left
                    .filter(|(timer, _)| is_meant(timer))
                    .map(|(timer, left)| {
                        let left = timers::length(left);
                        match timer.name.as_str() {
                            "" => format!("{left} left."),
                            name => format!("{name}: {left} left."),
                        }
                    });
                let told: Vec<_> = told.collect();
                if told.is_empty() {
                    return Ok("There is no timer.".into());
                }
                Ok(told.join(" "))
            }
        }
    }
}

/// A timer with this name, at the beginning of a sentence.
fn called(name: &str) -> String {
    match name {
        "" => "Timer".into(),
        name => format!("Timer {name}"),
    }
}

/// The next time after `now` at which a clock shows `hour` and `minute`. An hour up to 12 is that of a clock with twelve, in
/// the morning or the afternoon, whichever comes first.
fn next(now: &Zoned, hour: i64, minute: i64) -> Option<SystemTime> {
    let hour = i8::try_from(hour).ok()?;
    let minute = i8::try_from(minute).ok()?;
    let hours = if (1..=12).contains(&hour) {
        vec![hour % 12, hour % 12 + 12]
    } else {
        vec![hour]
    };
    let times = [0, 1].into_iter().flat_map(|day| {
        let day = now.date().checked_add(day.days()).ok();
        hours.iter().filter_map(move |hour| {
            let time = day?.at(*hour, minute, 0, 0);
            time.to_zoned(now.time_zone().clone()).ok()
        })
    });
    let next = times.filter(|it| it > now).min()?;
    Some(next.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::action;
    use super::*;

    #[test]
    fn an_alarm_rings_the_next_time_that_a_clock_shows_its_hour() {
        let next = |now: &str, hour, minute| {
            let now: Zoned = now.parse().unwrap();
            let next = next(&now, hour, minute).unwrap();
            let next = jiff::Timestamp::try_from(next).unwrap();
            next.to_zoned(now.time_zone().clone())
                .strftime("%d %H:%M")
                .to_string()
        };
        let berlin = |time: &str| format!("2026-12-01T{time}[Europe/Berlin]");
        assert_eq!(next(&berlin("22:00"), 6, 30), "02 06:30");
        assert_eq!(next(&berlin("05:00"), 6, 30), "01 06:30");
        assert_eq!(next(&berlin("14:00"), 3, 0), "01 15:00");
        assert_eq!(next(&berlin("14:00"), 12, 0), "02 00:00");
        assert_eq!(next(&berlin("14:00"), 15, 0), "01 15:00");
        assert_eq!(next(&berlin("16:00"), 15, 0), "02 15:00");
        // The hour that is skipped in spring is told by the next one.
        assert_eq!(next("2026-03-28T22:00[Europe/Berlin]", 2, 30), "29 03:30");
    }

    #[test]
    fn a_command_has_the_parameters_that_its_timer_needs() {
        let refused = action("action.timer = \"start\"").unwrap_err();
        assert!(
            refused.contains("needs a parameter `duration`"),
            "{refused}"
        );
        let refused = action("action.timer = \"cancel\"").unwrap_err();
        assert!(refused.contains("does not use"), "{refused}");
        let refused = action("action.timer = \"sing\"").unwrap_err();
        assert!(refused.contains("unknown variant `sing`"), "{refused}");
    }
}
