//! An action that sets, cancels or reads timers and alarms. What it needs to know it takes from parameters of these names:
//! `duration` and `unit`, or `hour` and `minute`; and `name`, if there is one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::{ToSpan, Zoned};
use serde::Deserialize;
use serde_json::Value;

use super::error::ActionError;
use super::job::Job;
use crate::commands::timers::{self, Timer, TimerError, Timers};
use crate::commands::{Kind, Name, Need, Parameter, Plain};

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
        let is_there = |name: &str| {
            let parameter = parameters.get(name);
            parameter.is_some_and(|it| it.need != Need::Optional)
        };
        if let Some(missing) = needed.iter().find(|it| !is_there(it)) {
            return Err(format!(
                "this `timer` action needs a parameter `{missing}`, required or with a default"
            ));
        }
        for (name, parameter) in parameters {
            if !known.contains(&name.as_str()) {
                return Err(format!(
                    "this `timer` action does not use `{name}`, but {}",
                    known.join(", ")
                ));
            }
            let (fits, wanted) = fits(name.as_str(), &parameter.kind);
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
        let name = job.call.arguments.get("name").and_then(Value::as_str);
        let name = name.unwrap_or("");
        match self {
            Self::Start => start(job, name).await,
            Self::Alarm => set_alarm(job, name).await,
            Self::Cancel => Ok(cancel(job.timers, name, false).await),
            Self::CancelAlarm => Ok(cancel(job.timers, name, true).await),
            Self::Left => Ok(left(job.timers, name)),
        }
    }
}

/// Whether a parameter of this name may have this type, and the types that it may have.
fn fits(name: &str, kind: &Kind) -> (bool, &'static str) {
    let is_whole = |least: i64, most: i64| matches!(kind, Kind::Integer { min, max, .. } if *min >= least && *max <= most);
    match name {
        "duration" => {
            let is_number = match kind {
                Kind::Integer { min, .. } => *min > 0,
                Kind::Number { min, .. } => *min > 0.0,
                _ => false,
            };
            (is_number, "a number above 0")
        }
        "unit" => {
            let is_unit = |it: &Plain| UNITS.iter().any(|(unit, _)| *unit == it.as_str());
            let are_units = matches!(kind, Kind::Enum(values) if values.iter().all(is_unit));
            (are_units, "an enum of seconds, minutes, hours and days")
        }
        "hour" => (is_whole(0, 23), "an integer within 0 and 23"),
        "minute" => (is_whole(0, 59), "an integer within 0 and 59"),
        _ => {
            let is_text = match kind {
                Kind::String { longest } => *longest <= 16,
                Kind::Enum(values) => values.iter().all(|it| timers::is_name(it.as_str())),
                _ => false,
            };
            (is_text, "an enum, or a string with `longest = 16` or less")
        }
    }
}

async fn start(job: Job<'_>, name: &str) -> Result<String, ActionError> {
    let argument = |name: &str| job.call.arguments.get(name);
    let number = argument("duration").and_then(Value::as_f64);
    let unit = argument("unit").and_then(Value::as_str);
    let unit = UNITS.iter().find(|(it, _)| Some(*it) == unit);
    let (Some(number), Some((_, seconds))) = (number, unit) else {
        return Err(ActionError::failed("a duration and a unit are needed"));
    };
    let time = Duration::from_secs(*seconds).as_secs_f64() * number;
    let time = Duration::try_from_secs_f64(time).map_err(|_| refused(TimerError::TooLong))?;
    job.timers.set(name, time).await.map_err(refused)?;
    let what = match name {
        "" => "Timer".into(),
        name => format!("Timer {name}"),
    };
    Ok(format!("{what} set for {}.", timers::length(time)))
}

async fn set_alarm(job: Job<'_>, name: &str) -> Result<String, ActionError> {
    let number = |name: &str| job.call.arguments.get(name).and_then(Value::as_i64);
    let (hour, minute) = (number("hour").unwrap_or(0), number("minute").unwrap_or(0));
    let time = next(&Zoned::now(), hour, minute);
    let time = time.ok_or_else(|| ActionError::failed("there is no such time"))?;
    job.timers.set_at(name, time).await.map_err(refused)?;
    let what = match name {
        "" => "Alarm".into(),
        name => format!("Alarm {name}"),
    };
    Ok(format!("{what} set for {}.", timers::clock(time)))
}

/// Cancels the timers of this name, or the alarms.
async fn cancel(all: &Timers, name: &str, alarms: bool) -> String {
    let what = if alarms { "alarm" } else { "timer" };
    let is_meant = |it: &Timer| it.is_alarm() == alarms && it.is_called(name);
    match all.cancel_those(is_meant).await.len() {
        0 => format!("There is no {what}."),
        1 => format!("The {what} is cancelled."),
        several => format!("{several} {what}s are cancelled."),
    }
}

fn left(all: &Timers, name: &str) -> String {
    let meant = all.left().into_iter();
    let meant = meant.filter(|(timer, _)| timer.is_called(name));
    let told = meant.map(|(timer, left)| {
        let left = timers::length(left);
        match timer.name.as_str() {
            "" => format!("{left} left."),
            name => format!("{name}: {left} left."),
        }
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return "There is no timer.".into();
    }
    told.join(" ")
}

fn refused(error: TimerError) -> ActionError {
    ActionError::failed(error.to_string())
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
