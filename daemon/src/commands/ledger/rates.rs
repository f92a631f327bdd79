//! When each command was invoked, for its cooldown and its rate limit.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::commands::Command;

/// The window of `at_most_per_minute`.
const MINUTE: Duration = Duration::from_mins(1);

/// When each command began: the last time, or the last `at_most_per_minute` times.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<String, VecDeque<Instant>>);

impl Rates {
    /// Whether `command` began too recently, or too often within a minute, to begin again `now`.
    pub(super) fn is_too_soon(&self, name: &str, command: &Command, now: Instant) -> bool {
        let Some(begun) = self.0.get(name) else {
            return false;
        };
        let within = |span: Duration| {
            begun
                .iter()
                .filter(move |it| now.saturating_duration_since(**it) < span)
        };
        within(command.cooldown).next().is_some()
            || command
                .at_most
                .is_some_and(|most| within(MINUTE).count() >= most.get() as usize)
    }

    /// Counts that `command` begins `now`.
    pub(super) fn count(&mut self, name: &str, command: &Command, now: Instant) {
        let most = command.at_most.map_or(1, |most| most.get() as usize);
        let begun = self.0.entry(name.into()).or_default();
        begun.push_back(now);
        while begun.len() > most {
            begun.pop_front();
        }
    }
}
