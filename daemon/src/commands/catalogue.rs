//! The catalogue of commands: which may be asked for, and which arguments fit.
//!
//! A catalogue that was read from files ([`super::written`]) is valid: its names, texts, ranges, defaults and examples
//! have been checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::action::Text;
use super::call::{Arguments, Call};
use super::unfit::Unfit;
use super::{Action, Name, Need, Parameter, Plain};

/// The result of a command that was done, where its output is not told.
pub(super) const DONE: &str = "ok";

/// The commands that may be asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// The commands by name.
    pub commands: BTreeMap<Name, Command>,
}

/// A command that can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its description, for the model and for people.
    pub description: Plain,
    /// Its parameters by name.
    pub parameters: BTreeMap<Name, Parameter>,
    /// Phrases for it, and the calls that must come of them.
    pub examples: Vec<Example>,
    /// Its role.
    pub role: Role,
    /// Shortest time between two invocations.
    pub cooldown: Duration,
    /// Most invocations within a minute; `None`: no limit.
    pub at_most: Option<NonZeroU32>,
    /// Names of the users who may invoke it; `None`: every client of the daemon, and every speaker. A command with
    /// `users` cannot be invoked by voice, because the daemon does not identify speakers.
    pub users: Option<Vec<String>>,
    /// What runs besides the signal; `None`: the listeners of the signal act.
    pub action: Option<Action>,
    /// What the person is told once it was done; `None`: the output of its action, or that it was done.
    pub(super) reply: Option<Text>,
}

/// The role of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It acts.
    Acts(Caution),
    /// It halts: it cancels all commands that wait or run, waits for nothing itself, and can be invoked without the
    /// model. Such a command requires no argument and has no condition.
    Halts,
    /// It only looks something up: the output of its action goes back to the model, which words the reply.
    Answers,
}

/// The caution with which a command is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caution {
    /// It is carried out at once.
    None,
    /// It waits until the person has confirmed it.
    Confirm,
    /// The same, because it can do harm.
    Dangerous,
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
    /// Whether it halts.
    #[must_use]
    pub fn halts(&self) -> bool {
        self.role == Role::Halts
    }

    /// Whether it waits until the person has confirmed it.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        matches!(self.role, Role::Acts(Caution::Confirm | Caution::Dangerous))
    }

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
            match &parameter.need {
                Need::Default(value) => drop(fitting.insert(name.to_string(), value.clone())),
                Need::Required { ask } => {
                    return Err(Unfit::Missing {
                        parameter: name.to_string(),
                        ask: ask.as_ref().map(Plain::to_string),
                    });
                }
                Need::Optional => {}
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
        let halting = self.commands.iter().filter(|(_, command)| command.halts());
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
        answering
            .commands
            .retain(|_, command| command.role == Role::Answers);
        answering
    }

    /// Whether this command halts.
    pub(super) fn halts(&self, call: &Call) -> bool {
        self.command(call).is_some_and(Command::halts)
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
