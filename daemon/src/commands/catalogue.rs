//! The catalogue of commands: which may be asked for, and which arguments fit.
//!
//! A catalogue that was read from files ([`super::written`]) is valid: its names, texts, ranges, defaults and examples
//! have been checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::call::{Arguments, Call};
use super::unfit::Unfit;
use super::{Action, Name, Parameter, Plain};

/// The commands that may be asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// The commands by name.
    pub commands: BTreeMap<Name, Command>,
}

/// A command that can be asked for.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // Each is a key of the file.
pub struct Command {
    /// Its description, for the model and for people.
    pub description: Plain,
    /// Its parameters by name.
    pub parameters: BTreeMap<Name, Parameter>,
    /// Phrases for it, and the calls that must come of them.
    pub examples: Vec<Example>,
    /// Whether it waits until the person has confirmed it.
    pub confirm: bool,
    /// Whether it can do harm. If so, `confirm` is set too.
    pub dangerous: bool,
    /// Shortest time between two invocations.
    pub cooldown: Duration,
    /// Most invocations within a minute; `None`: no limit.
    pub at_most: Option<NonZeroU32>,
    /// Names of the users who may invoke it; `None`: every client of the daemon, and every speaker. A command with
    /// `users` cannot be invoked by voice, because the daemon does not identify speakers.
    pub users: Option<Vec<String>>,
    /// Whether it halts: it cancels all commands that wait or run, waits for nothing itself, and can be invoked
    /// without the model. Such a command requires no argument and has no condition.
    pub halts: bool,
    /// What runs besides the signal; `None`: the listeners of the signal act.
    pub action: Option<Action>,
    /// Whether the output of its action goes back to the model, which words the reply. Such a command only looks
    /// something up.
    pub answers: bool,
}

/// A phrase, and the call that must come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The phrase.
    pub say: Plain,
    /// The arguments the phrase gives, without defaults. `None`: it is no command, or an argument is missing.
    pub call: Option<Arguments>,
}

impl Command {
    /// Checks arguments and fills in defaults.
    ///
    /// # Errors
    /// When an argument is unknown, does not fit or is missing.
    pub fn fit(&self, arguments: Arguments) -> Result<Arguments, Unfit> {
        let mut fitting = Arguments::new();
        for (name, value) in arguments {
            let parameter = self
                .parameters
                .get(name.as_str())
                .ok_or_else(|| Unfit::UnknownParameter(name.clone()))?;
            let value = parameter.kind.fit(&value).map_err(|range| Unfit::Value {
                parameter: name.clone(),
                value: value.to_string(),
                range,
            })?;
            fitting.insert(name, value);
        }
        for (name, parameter) in &self.parameters {
            if fitting.contains_key(name.as_str()) {
                continue;
            }
            match &parameter.default {
                Some(default) => drop(fitting.insert(name.to_string(), default.clone())),
                None if parameter.required => {
                    return Err(Unfit::Missing {
                        parameter: name.to_string(),
                        ask: parameter.ask.as_ref().map(Plain::to_string),
                    });
                }
                None => {}
            }
        }
        Ok(fitting)
    }
}

impl Catalogue {
    /// The command that `call` names, if it exists.
    #[must_use]
    pub fn command(&self, call: &Call) -> Option<&Command> {
        self.commands.get(call.name.as_str())
    }

    /// Checks a call against its command and fills in defaults.
    ///
    /// # Errors
    /// When the command or an argument is unknown, or an argument does not fit or is missing.
    pub fn fit(&self, call: Call) -> Result<Call, Unfit> {
        let Some(command) = self.command(&call) else {
            return Err(Unfit::UnknownCommand(call.name));
        };
        let arguments = command.fit(call.arguments)?;
        Ok(Call {
            name: call.name,
            arguments,
        })
    }

    /// Calls of all commands that halt, with their defaults.
    pub(super) fn halting(&self) -> Vec<Call> {
        let halting = self.commands.iter().filter(|(_, command)| command.halts);
        let calls = halting.filter_map(|(name, command)| {
            // A command that halts has no required parameter, so this does not fail.
            let arguments = command.fit(Arguments::new()).ok()?;
            Some(Call {
                name: name.to_string(),
                arguments,
            })
        });
        calls.collect()
    }

    /// The catalogue of only those commands that answer.
    pub(super) fn answering(&self) -> Self {
        let mut answering = self.clone();
        answering.commands.retain(|_, command| command.answers);
        answering
    }

    /// Whether this command halts.
    pub(super) fn halts(&self, call: &Call) -> bool {
        self.command(call).is_some_and(|command| command.halts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::written::tests::shipped;
    use super::*;

    #[test]
    fn defaults_are_filled_in_and_what_is_missing_is_asked_for() {
        let catalogue = shipped();
        let fit = |name: &str, arguments| {
            catalogue.commands[name].fit(serde_json::from_value(arguments).unwrap())
        };
        let turn = fit("turn", serde_json::json!({"direction": "left"})).unwrap();
        assert_eq!(
            serde_json::json!(turn),
            serde_json::json!({"direction": "left", "angle": 90})
        );
        let missing = fit("turn", serde_json::json!({"angle": 45})).unwrap_err();
        let Unfit::Missing { ask: Some(ask), .. } = missing else {
            panic!("{missing:?}");
        };
        assert_eq!(ask, "Left or right?");
    }
}
