//! The files of the catalogue: their keys, and their errors with file and line.
//!
//! A file with a mistake is refused as a whole, with the place and the reason. Its bytes, its commands and the entries
//! of each have a limit, so that a file is read in little time and its listing fits into a message.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::action::Text;
use super::call::Arguments;
use super::error::{CatalogueError, LONGEST_FILE};
use super::parameter::Spoken;
use super::plain::quoted;
use super::{Action, Catalogue, Caution, Command, Example, Name, Parameter, Plain, Role};
use crate::config::{self, Mistake};

/// Most commands of a catalogue. The shipped files together have 38.
pub(super) const MOST_COMMANDS: usize = 256;

/// Most parameters of a command.
const MOST_PARAMETERS: usize = 16;

/// Most examples, phrases and users of a command.
const MOST_ENTRIES: usize = 256;

/// The text of a file, and the path that errors give.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    text: String,
}

/// A user or a program of this machine that a file names.
pub(super) struct Named {
    /// The user or the program.
    pub which: Which,
    /// The key in the file.
    key: String,
    at: Range<usize>,
}

/// The user or the program that a file names.
pub(super) enum Which {
    /// A user, by name or number.
    User(String),
    /// A program, by its path.
    Program(PathBuf),
}

impl Catalogue {
    /// Reads the text of a file; errors give `path` as its place.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] with the line, [`CatalogueError::TooLong`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, CatalogueError> {
        Source::new(path, text)?.catalogue()
    }
}

impl Source {
    /// The text of the file at `path`, or a text that errors are to call so.
    ///
    /// # Errors
    /// [`CatalogueError::TooLong`].
    pub fn new(path: &Path, text: impl Into<String> + AsRef<str>) -> Result<Self, CatalogueError> {
        let bytes = text.as_ref().len();
        if bytes > LONGEST_FILE {
            return Err(CatalogueError::TooLong {
                path: path.into(),
                bytes,
            });
        }
        Ok(Self {
            path: path.into(),
            text: text.into(),
        })
    }

    /// The path that errors give.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Reads its commands.
    ///
    /// # Errors
    /// [`CatalogueError::Invalid`] with the line.
    pub(super) fn catalogue(&self) -> Result<Catalogue, CatalogueError> {
        let file: File = config::read_toml(&self.text).map_err(|it| self.refusal(it))?;
        let commands = file.commands.0.into_iter();
        let commands = commands.map(|(name, Given(command))| (name, command));
        Ok(Catalogue {
            commands: commands.collect(),
        })
    }

    /// Whether there is a command of this name.
    pub(super) fn has_command(&self, name: &str) -> bool {
        self.places().contains_key(name)
    }

    /// An error about this command.
    pub(super) fn invalid_command(&self, name: &str, message: &str) -> CatalogueError {
        let place = self.places().remove(name);
        let span = place.map(|place| place.span());
        self.invalid(span, &format!("commands.{name}"), message)
    }

    /// An error about a user or a program that it names.
    pub(super) fn invalid_named(&self, named: &Named, message: &str) -> CatalogueError {
        self.invalid(Some(named.at.clone()), &named.key, message)
    }

    /// All users and programs it names.
    pub(super) fn named(&self) -> Vec<Named> {
        let places = self.places().into_iter();
        let named = places.flat_map(|(command, place)| {
            let Place { users, action } = place.into_inner();
            let named = |key: &str, at, which| Named {
                which,
                key: format!("commands.{command}.{key}"),
                at,
            };
            let users = users.into_iter();
            let users = users.map(|it| named("users", it.span(), Which::User(it.into_inner())));
            let program = action.program.run.into_iter().next();
            let program = program.map(|it| {
                let path = it.as_ref().into();
                named("action.program.run", it.span(), Which::Program(path))
            });
            users.chain(program).collect::<Vec<_>>()
        });
        named.collect()
    }

    /// The places of its commands; none if the text cannot be parsed.
    fn places(&self) -> BTreeMap<String, Spanned<Place>> {
        let places = toml::from_str::<Places>(&self.text);
        places.map(|it| it.commands).unwrap_or_default()
    }

    fn invalid(&self, span: Option<Range<usize>>, key: &str, message: &str) -> CatalogueError {
        self.refusal(Mistake::new(&self.text, span, key, message))
    }

    fn refusal(&self, mistake: Mistake) -> CatalogueError {
        CatalogueError::Invalid {
            path: self.path.clone(),
            mistake,
        }
    }
}

/// The keys of a file whose places errors need, parsed a second time.
#[derive(Debug, Deserialize)]
struct Places {
    #[serde(default)]
    commands: BTreeMap<String, Spanned<Place>>,
}

#[derive(Debug, Deserialize)]
struct Place {
    #[serde(default)]
    users: Vec<Spanned<String>>,
    #[serde(default)]
    action: PlaceOfAction,
}

#[derive(Debug, Default, Deserialize)]
struct PlaceOfAction {
    #[serde(default)]
    program: PlaceOfProgram,
}

#[derive(Debug, Default, Deserialize)]
struct PlaceOfProgram {
    #[serde(default)]
    run: Vec<Spanned<String>>,
}

/// The keys of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "title")]
    _title: Option<Plain>,
    #[serde(default)]
    commands: Few<BTreeMap<Name, Given>, MOST_COMMANDS>,
}

/// A command that was checked, from its keys.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Given(Command);

/// A list or a table of at most `MOST` entries.
#[derive(Debug, Default)]
struct Few<T, const MOST: usize>(T);

/// The keys of a command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // Each is a key of the file.
struct Written {
    description: Plain,
    #[serde(default)]
    parameters: Few<BTreeMap<Name, Parameter>, MOST_PARAMETERS>,
    #[serde(default)]
    examples: Few<Vec<WrittenExample>, MOST_ENTRIES>,
    #[serde(default)]
    confirm: bool,
    #[serde(default)]
    dangerous: bool,
    #[serde(default)]
    cooldown_ms: u32,
    at_most_per_minute: Option<NonZeroU32>,
    users: Option<Few<Vec<Plain>, MOST_ENTRIES>>,
    #[serde(default)]
    halts: bool,
    action: Option<Action>,
    reply: Option<Text>,
    #[serde(default)]
    answers: bool,
    /// For training a model; unused here.
    #[serde(default, rename = "phrases")]
    _phrases: Few<Vec<Phrase>, MOST_ENTRIES>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExample {
    say: Plain,
    call: Option<toml::Table>,
}

/// A phrase for training a model. It is read only to find mistakes in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrase {
    #[serde(rename = "say")]
    _say: Plain,
    #[serde(rename = "call")]
    _call: Option<toml::Table>,
    #[serde(rename = "spoken")]
    _spoken: Option<BTreeMap<Name, Spoken>>,
}

impl<'de, T, const MOST: usize> Deserialize<'de> for Few<T, MOST>
where
    T: Deserialize<'de>,
    for<'a> &'a T: IntoIterator,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = T::deserialize(deserializer)?;
        match entries.into_iter().count() {
            count if count > MOST => Err(de::Error::custom(format!(
                "it has {count} entries, but at most {MOST} are allowed; leave some out"
            ))),
            _ => Ok(Self(entries)),
        }
    }
}

impl TryFrom<Written> for Given {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        written.check_users()?;
        let role = written.role()?;
        let parameters = written.parameters.0;
        if let Some(action) = &written.action {
            action
                .check(&parameters)
                .map_err(|why| format!("its action: {why}"))?;
        }
        if let Some(reply) = &written.reply {
            reply
                .check(&parameters)
                .map_err(|why| format!("its reply: {why}"))?;
        }
        let users = written.users.map(|Few(users)| users);
        let mut command = Command {
            description: written.description,
            parameters,
            examples: Vec::new(),
            role,
            cooldown: Duration::from_millis(written.cooldown_ms.into()),
            at_most: written.at_most_per_minute,
            users: users.map(|users| users.iter().map(Plain::to_string).collect()),
            action: written.action,
            reply: written.reply,
        };
        command.examples = examples(&command, written.examples.0)?;
        Ok(Self(command))
    }
}

fn examples(command: &Command, written: Vec<WrittenExample>) -> Result<Vec<Example>, String> {
    let mut said = BTreeSet::new();
    let examples = written.into_iter().map(|written| {
        let example = example(command, written)?;
        if said.insert(example.say.clone()) {
            Ok(example)
        } else {
            let say = quoted(example.say.as_str());
            Err(format!(
                "the example {say} is there twice; leave out one of them"
            ))
        }
    });
    examples.collect()
}

fn example(
    command: &Command,
    WrittenExample { say, call }: WrittenExample,
) -> Result<Example, String> {
    let Some(call) = call else {
        return Ok(Example { say, call: None });
    };
    let arguments = serde_json::to_value(call).and_then(serde_json::from_value);
    let said: Arguments = arguments.map_err(|error| error.to_string())?;
    let mut fitting = command.fit(said.clone()).map_err(|unfit| {
        let (say, why) = (quoted(say.as_str()), unfit.in_full());
        format!("the example {say} does not fit: {why}")
    })?;
    fitting.retain(|name, _| said.contains_key(name));
    Ok(Example {
        say,
        call: Some(fitting),
    })
}

impl Written {
    fn role(&self) -> Result<Role, String> {
        if self.answers {
            self.check_answers()?;
            return Ok(Role::Answers);
        }
        if self.halts {
            self.check_halts()?;
            return Ok(Role::Halts);
        }
        Ok(Role::Acts(match (self.confirm, self.dangerous) {
            (_, true) => Caution::Dangerous,
            (true, false) => Caution::Confirm,
            (false, false) => Caution::None,
        }))
    }

    /// Refuses a command that `answers` but does more than look something up.
    fn check_answers(&self) -> Result<(), String> {
        if self.action.is_none() {
            return Err("it `answers`, so it needs an `action` that looks something up".into());
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

    /// Refuses keys and parameters that could hold up a command that halts.
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
        let mut parameters = self.parameters.0.iter();
        match parameters.find(|(_, parameter)| parameter.is_required()) {
            Some((name, _)) => Err(format!(
                "it `halts`, so it must do without {name}; give that a `default`, or `required = false`"
            )),
            None => Ok(()),
        }
    }

    /// Refuses a command that no user may invoke.
    fn check_users(&self) -> Result<(), String> {
        match &self.users {
            Some(Few(users)) if users.is_empty() => Err(
                "`users` is empty, so nobody could ask for it; name somebody, or leave `users` out"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn refuse(text: &str) -> String {
        Catalogue::parse(Path::new("home.toml"), text)
            .unwrap_err()
            .to_string()
    }

    pub(in crate::commands) fn shipped() -> Catalogue {
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

    /// A file with one command and this many of something.
    fn many(count: usize, key: &str, one: impl Fn(usize) -> String) -> String {
        let entries: Vec<_> = (0..count).map(one).collect();
        format!(
            "[commands.a]\ndescription = \"A.\"\n{key} = {}\n",
            key_value(key, &entries)
        )
    }

    fn key_value(key: &str, entries: &[String]) -> String {
        let entries = entries.join(", ");
        if key == "parameters" {
            format!("{{ {entries} }}")
        } else {
            format!("[{entries}]")
        }
    }

    #[test]
    fn a_file_has_a_bound_in_every_direction() {
        let long = format!("# {}", "a".repeat(LONGEST_FILE));
        assert!(refuse(&long).contains("65538 bytes"), "{}", refuse(&long));
        let parameter = |nth| format!("p{nth} = {{ type = \"boolean\" }}");
        let values: Vec<_> = (0..300).map(|nth| format!("\"v{nth}\"")).collect();
        let commands = (0..300).map(|nth| format!("c{nth} = {{ description = \"A.\" }}\n"));
        let commands = commands.collect::<Vec<_>>().concat();
        for (text, said) in [
            (
                many(17, "parameters", parameter),
                "home.toml:3: commands.a.parameters: it has 17 entries",
            ),
            (
                many(257, "examples", |nth| format!("{{ say = \"a{nth}\" }}")),
                "home.toml:3: commands.a.examples: it has 257 entries",
            ),
            (
                many(257, "phrases", |nth| format!("{{ say = \"a{nth}\" }}")),
                "home.toml:3: commands.a.phrases: it has 257 entries",
            ),
            (
                many(257, "users", |nth| format!("\"u{nth}\"")),
                "home.toml:3: commands.a.users: it has 257 entries",
            ),
            (
                many(1, "parameters", |_| {
                    format!(
                        "x = {{ type = \"enum\", values = [{}] }}",
                        values.join(", ")
                    )
                }),
                "home.toml:3: commands.a.parameters.x.values: it has 300 values",
            ),
            (
                format!("[commands]\n{commands}"),
                "home.toml:1: commands: it has 300 entries",
            ),
            (
                format!("[commands.a]\ndescription = \"{}\"\n", "a".repeat(1001)),
                "home.toml:2: commands.a.description: it has 1001 bytes",
            ),
            (
                format!("[commands.{}]\n", "a".repeat(65)),
                "home.toml:1: commands",
            ),
        ] {
            let refused = refuse(&text);
            assert!(refused.contains(said), "{refused}");
            assert!(refused.len() < 2000, "{refused}");
        }
    }

    #[test]
    fn the_shipped_catalogues_are_read_with_their_examples() {
        let catalogue = shipped();
        assert!(catalogue.commands.len() > 30);
        for (name, command) in &catalogue.commands {
            assert!(!command.examples.is_empty(), "{name}");
        }
        assert!(catalogue.commands["call_contact"].is_confirmed());
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
            (
                "[commands.a]\ndescription = \"A.\"\nexamples = [{ say = \"a\" }, { say = \"a\" }]\n",
                "home.toml:1: commands.a: the example \"a\" is there twice",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nusers = []\n",
                "home.toml:1: commands.a: `users` is empty",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\n[commands.a.parameters]\nx = { type = \"enum\", values = [\"on\", \"on\"] }\n",
                "home.toml:4: commands.a.parameters.x.values: \"on\" is there twice",
            ),
            (
                "[commands.a]\ndescription = \"A.\"\nphrases = [{ say = \"a\", spoken = { x = { on = [\"o\u{202E}n\"] } } }]\n",
                "home.toml:3: commands.a.phrases[0].spoken.x.on[0]: \"on\" holds U+202E",
            ),
        ] {
            let refused = refuse(text);
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
