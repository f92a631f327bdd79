//! The catalogue of commands as its files say it: their keys, and their errors with file and line.
//!
//! A file that does not fit is refused as a whole, with the place and the reason. What was read can be
//! used: names, texts, ranges, defaults and examples have been checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::call::{Arguments, Call};
use super::{Action, Name, Outcome, Parameter, Plain, Unfit};

/// All that may be asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// The commands by name.
    pub commands: BTreeMap<Name, Command>,
}

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
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
    /// The arguments, defaults included; `None`: it is no command, or something is missing.
    pub call: Option<Arguments>,
}

/// Why a catalogue was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A file or folder cannot be read.
    #[error("cannot read the commands in {}: {why}; see [commands] folders", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file does not fit.
    #[error("{}:{line}: {key}{message}; see /usr/share/gemmad/commands/home.toml for the keys", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// `commands.NAME: `, or nothing where the file is not even TOML.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// Two files have a command of the same name.
    #[error("{}: there is a command {name} in {} already; rename one of them", path.display(), other.display())]
    Twice {
        /// The later file.
        path: PathBuf,
        /// The earlier one.
        other: PathBuf,
        /// The name.
        name: String,
    },
    /// No file has a command.
    #[error(
        "there are no commands in {folders}; put a file there (the shipped ones are examples), or set \
         [commands] enabled = false"
    )]
    Empty {
        /// Where they were looked for.
        folders: String,
    },
}

impl Catalogue {
    /// Reads the text of a file; `path` is what errors call it.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] with the line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CatalogueError> {
        let invalid = |span: Option<std::ops::Range<usize>>, key: String, message: &str| {
            let before = span.and_then(|span| text.get(..span.start));
            CatalogueError::Invalid {
                path: path.into(),
                line: 1 + before.map_or(0, |before| before.matches('\n').count()),
                key,
                message: message.lines().collect::<Vec<_>>().join(" "),
            }
        };
        let document = toml::Deserializer::parse(text)
            .map_err(|error| invalid(error.span(), String::new(), error.message()))?;
        let file: File = serde_path_to_error::deserialize(document).map_err(|error| {
            let key = match error.path().to_string().as_str() {
                "." => String::new(),
                path => format!("{path}: "),
            };
            invalid(error.inner().span(), key, error.inner().message())
        })?;
        Ok(Self {
            commands: file.commands,
        })
    }
}

/// The keys of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "title")]
    _title: Option<Plain>,
    #[serde(default)]
    commands: BTreeMap<Name, Command>,
}

/// The keys of a command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // As above.
struct Written {
    description: Plain,
    #[serde(default)]
    parameters: BTreeMap<Name, Parameter>,
    #[serde(default)]
    examples: Vec<WrittenExample>,
    #[serde(default)]
    confirm: bool,
    #[serde(default)]
    dangerous: bool,
    #[serde(default)]
    cooldown_ms: u32,
    at_most_per_minute: Option<NonZeroU32>,
    users: Option<Vec<String>>,
    #[serde(default)]
    halts: bool,
    action: Option<Action>,
    #[serde(default)]
    answers: bool,
    /// Only for training a model.
    #[serde(default, rename = "phrases")]
    _phrases: Vec<Phrase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExample {
    say: Plain,
    call: Option<toml::Table>,
}

/// How people say it. Read only so that a mistake in it is found.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrase {
    #[serde(rename = "say")]
    _say: Plain,
    #[serde(rename = "call")]
    _call: Option<toml::Table>,
    #[serde(rename = "spoken")]
    _spoken: Option<toml::Table>,
}

impl TryFrom<Written> for Command {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.halts {
            written.check_halts()?;
        }
        if written.answers {
            written.check_answers()?;
        }
        if let Some(action) = &written.action {
            action
                .check(&written.parameters)
                .map_err(|why| format!("its action: {why}"))?;
        }
        let mut command = Self {
            description: written.description,
            parameters: written.parameters,
            examples: Vec::new(),
            confirm: written.confirm || written.dangerous,
            dangerous: written.dangerous,
            cooldown: Duration::from_millis(written.cooldown_ms.into()),
            at_most: written.at_most_per_minute,
            users: written.users,
            halts: written.halts,
            action: written.action,
            answers: written.answers,
        };
        for example in written.examples {
            let example = command.example(example)?;
            command.examples.push(example);
        }
        Ok(command)
    }
}

impl Written {
    /// Refuses what does more than finding something out.
    fn check_answers(&self) -> Result<(), String> {
        if self.action.is_none() {
            return Err("it `answers`, so it needs an `action` that finds out what".into());
        }
        let others = [
            ("confirm", self.confirm),
            ("dangerous", self.dangerous),
            ("halts", self.halts),
        ];
        match others.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!(
                "it `answers`, so it only finds something out; leave out `{key}`"
            )),
            None => Ok(()),
        }
    }

    /// Refuses what could hold up a command that halts.
    fn check_halts(&self) -> Result<(), String> {
        let conditions = [
            ("confirm", self.confirm),
            ("dangerous", self.dangerous),
            ("cooldown_ms", self.cooldown_ms > 0),
            ("at_most_per_minute", self.at_most_per_minute.is_some()),
            ("users", self.users.is_some()),
        ];
        if let Some((key, _)) = conditions.iter().find(|(_, given)| *given) {
            return Err(format!(
                "it `halts`, so nothing may hold it up; leave out `{key}`"
            ));
        }
        let mut parameters = self.parameters.iter();
        match parameters.find(|(_, parameter)| parameter.required) {
            Some((name, _)) => Err(format!(
                "it `halts`, so it must do without {name}; give that a `default`, or `required = false`"
            )),
            None => Ok(()),
        }
    }
}

impl Command {
    fn example(&self, WrittenExample { say, call }: WrittenExample) -> Result<Example, String> {
        let Some(call) = call else {
            return Ok(Example { say, call: None });
        };
        let arguments = serde_json::to_value(call).and_then(serde_json::from_value);
        let arguments = arguments.map_err(|error| error.to_string())?;
        let arguments = self
            .fit(arguments)
            .map_err(|unfit| format!("the example {:?} does not fit: {unfit}", say.as_str()))?;
        Ok(Example {
            say,
            call: Some(arguments),
        })
    }

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
    use super::*;

    fn refuse(text: &str) -> String {
        Catalogue::parse(Path::new("home.toml"), text)
            .unwrap_err()
            .to_string()
    }

    pub(crate) fn shipped() -> Catalogue {
        let mut all = Catalogue::default();
        for text in [
            include_str!("../../../configs/commands/home.toml"),
            include_str!("../../../configs/commands/robot.toml"),
        ] {
            all.commands.extend(
                Catalogue::parse(Path::new("shipped"), text)
                    .unwrap()
                    .commands,
            );
        }
        all
    }

    #[test]
    fn the_shipped_catalogues_are_read_with_their_examples() {
        let catalogue = shipped();
        assert!(catalogue.commands.len() > 30);
        for (name, command) in &catalogue.commands {
            assert!(!command.examples.is_empty(), "{name}");
        }
        assert!(catalogue.commands["call_contact"].confirm);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_key() {
        for (text, said) in [
            (
                "title = \"A\"\ncolour = 1\n",
                "home.toml:2: colour: unknown field",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\n\n[commands.a.parameters]\nx = { type = \"enum\" }\n",
                "home.toml:5: commands.a.parameters.x: an enum needs `values`",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nconfrim = true\n",
                "home.toml:3: commands.a.confrim: unknown field",
            ),
            (
                "[commands.a]\ndescription = 3\n",
                "home.toml:2: commands.a.description: invalid type",
            ),
            (
                "\n[commands.A]\ndescription = \"A.\"\n",
                "home.toml:2: commands",
            ),
            ("[commands.a]\n\ndescription = = 2\n", "home.toml:3: "),
            (
                "[commands.a]\ndescription = \"a <turn|>\"\n",
                "home.toml:2: commands.a.description: \"a <turn|>\" holds '<'",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nhalts = true\ncooldown_ms = 1\n",
                "home.toml:1: commands.a: it `halts`, so nothing may hold it up; leave out `cooldown_ms`",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nhalts = true\nparameters.x = { type = \"boolean\" }\n",
                "it `halts`, so it must do without x",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nanswers = true\n",
                "it `answers`, so it needs an `action`",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nanswers = true\nconfirm = true\naction.program = { run = [\"/bin/date\"] }\n",
                "it `answers`, so it only finds something out; leave out `confirm`",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nexamples = [{ say = \"a\", call = { x = 1 } }]\n",
                "the example \"a\" does not fit: there is no parameter x",
            ),
        ] {
            let refused = refuse(text);
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

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
