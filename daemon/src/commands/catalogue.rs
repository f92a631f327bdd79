//! The catalogue of commands: what may be asked for, and which arguments fit.
//!
//! What was read from files ([`super::written`]) can be used: names, texts, ranges, defaults and examples have been
//! checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::call::{Arguments, Call};
use super::{Action, Name, Outcome, Parameter, Plain, Unfit};

/// All that may be asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// The commands by name.
    pub commands: BTreeMap<Name, Command>,
}

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // Each is a key of the file.
pub struct Command {
    /// What it does, for the model and for people.
    pub description: Plain,
    /// What has to be said with it.
    pub parameters: BTreeMap<Name, Parameter>,
    /// What people say, and what must come of it.
    pub examples: Vec<Example>,
    /// Whether the person is asked before anything happens.
    pub confirm: bool,
    /// Whether it can do harm. Such a command is always confirmed.
    pub dangerous: bool,
    /// Shortest time between two invocations.
    pub cooldown: Duration,
    /// Most invocations within a minute.
    pub at_most: Option<NonZeroU32>,
    /// Who may invoke it, by user name; `None`: whoever may talk to the daemon, and whoever speaks. With
    /// names it cannot be invoked by voice, because nobody knows who speaks.
    pub users: Option<Vec<String>>,
    /// Whether it halts: it undoes what waits and what runs, waits for nothing itself, and can be invoked
    /// without the model. It needs no argument then, and has no condition.
    pub halts: bool,
    /// What is done besides the signal; `None`: whoever listens to the signal acts.
    pub action: Option<Action>,
    /// Whether what its action says goes back to the model, which tells the person. It does nothing but find
    /// something out then.
    pub answers: bool,
}

/// What somebody may say, and what must come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The words.
    pub say: Plain,
    /// The arguments that are said; defaults come to them. `None`: it is no command, or something is missing.
    pub call: Option<Arguments>,
}

impl Command {
    /// Checks arguments and fills in defaults.
    ///
    /// # Errors
    /// What does not fit, or is missing.
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
    /// What an answer of the model means.
    ///
    /// # Errors
    /// When it is not in the protocol or calls what is not declared; nothing may happen then.
    pub fn read(&self, answer: &str) -> Result<Outcome, Unfit> {
        Outcome::of(self, answer)
    }

    /// The command that is called, if there is one.
    #[must_use]
    pub fn command(&self, call: &Call) -> Option<&Command> {
        self.commands.get(call.name.as_str())
    }

    /// Checks a call against its command.
    ///
    /// # Errors
    /// What does not fit, or is missing.
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
            // What such a command needs it has by default.
            let arguments = command.fit(Arguments::new()).ok()?;
            Some(Call {
                name: name.to_string(),
                arguments,
            })
        });
        calls.collect()
    }

    /// Only those that answer.
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
