//! `gemmactl commands`: the catalogue in force, and checks of its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gemmad_api::{CommandInfo, CommandsProxy, Dict, Invocation, InvokeOptions, Outcome, from_dict};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    args::Catalogue,
    bus::Way,
    failure::Failure,
    input,
    terminal::{self, Output, count, one_line},
};

/// Maximum size of a file of commands, in bytes.
const LONGEST: u64 = 1 << 20;

/// Does what `options` say.
pub async fn run(options: &Catalogue, way: &Way) -> Result<(), Failure> {
    match options {
        Catalogue::List { json } => list(&proxy(way).await?, *json).await,
        Catalogue::Check { files } => {
            let files = expand(files)?;
            check_all(&proxy(way).await?, &files).await
        }
        Catalogue::Test { file, json } => {
            let text = file.as_deref().map(read).transpose()?;
            let commands = proxy(way).await?;
            let known = match (file, text) {
                (Some(file), Some(text)) => in_force(&commands, file, &text).await?,
                _ => listed(&commands.list().await?)?,
            };
            test(&commands, &known, *json).await
        }
    }
}

async fn proxy(way: &Way) -> Result<CommandsProxy<'static>, Failure> {
    Ok(CommandsProxy::new(&way.connect().await?).await?)
}

fn read(file: &Path) -> Result<String, Failure> {
    let unusable =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", file.display()));
    let found = std::fs::metadata(file).map_err(|error| unusable(&error))?;
    if found.is_dir() {
        return Err(unusable(
            &"it is a folder. Name one of the catalogues in it",
        ));
    }
    if !found.is_file() || found.len() > LONGEST {
        return Err(unusable(
            &"it is no file of at most 1 MiB. Name a catalogue",
        ));
    }
    let bytes = std::fs::read(file).map_err(|error| unusable(&error))?;
    input::text(&file.display(), bytes)
}

/// The files named, and those in folders named, in the order in which the daemon reads them.
fn expand(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for name in named {
        if name.is_dir() {
            files.extend(files_in(name)?);
        } else {
            files.push(name.clone());
        }
    }
    Ok(files)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unusable =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("{}: {why}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unusable(&error))? {
        let path = entry.map_err(|error| unusable(&error))?.path();
        if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(unusable(&"it has no *.toml file. Name a catalogue"));
    }
    Ok(files)
}

/// Checks every file, and that no command is in two of them.
async fn check_all(commands: &CommandsProxy<'_>, files: &[PathBuf]) -> Result<(), Failure> {
    let mut output = Output::new();
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    let mut failed = None;
    for file in files {
        match check_one(commands, file, &mut seen).await {
            Ok(said) => output.line(&said).await?,
            Err(Failure::Refused(mistake)) => {
                // The last mistake is reported at the end, as the failure.
                let before = failed.replace(mistake);
                if let Some(mistake) = before {
                    terminal::note(&mistake);
                }
            }
            Err(other) => return Err(other),
        }
    }
    failed.map_or(Ok(()), |mistake| Err(Failure::Refused(mistake)))
}

async fn check_one<'a>(
    commands: &CommandsProxy<'_>,
    file: &'a Path,
    seen: &mut BTreeMap<String, &'a Path>,
) -> Result<String, Failure> {
    let known = check(commands, file, &read(file)?).await?;
    let count = known.len();
    for command in known {
        let name = command.name.clone();
        if let Some(other) = seen.insert(command.name, file) {
            return Err(Failure::Refused(format!(
                "{}: there is a command {name} in {} already; rename one of them",
                file.display(),
                other.display()
            )));
        }
    }
    let known = terminal::count(count, "command");
    Ok(format!("{}: {known}, no mistakes", file.display()))
}

async fn check(
    commands: &CommandsProxy<'_>,
    file: &Path,
    text: &str,
) -> Result<Vec<CommandInfo>, Failure> {
    // An absolute path, because the daemon checks whether it would trust the file and has another working folder.
    let path = std::path::absolute(file);
    let path = path.as_deref().unwrap_or(file).display().to_string();
    listed(&commands.check(&path, text).await?)
}

/// The commands of a file.
///
/// # Errors
/// [`Failure::Usage`] names those that are not in force exactly as in the file.
async fn in_force(
    commands: &CommandsProxy<'_>,
    file: &Path,
    text: &str,
) -> Result<Vec<CommandInfo>, Failure> {
    let wanted = check(commands, file, text).await?;
    let known = listed(&commands.list().await?)?;
    let missing = wanted.iter().filter(|it| !known.contains(it));
    let missing: Vec<_> = missing.map(|it| it.name.as_str()).collect();
    if missing.is_empty() {
        return Ok(wanted);
    }
    Err(Failure::Usage(format!(
        "{}: {} not in force as written there. Put the file into one of the folders under [commands], then \
         `gemmactl reload`",
        file.display(),
        missing.join(", ")
    )))
}

fn listed(commands: &[Dict]) -> Result<Vec<CommandInfo>, Failure> {
    let commands: Result<_, _> = commands.iter().map(from_dict).collect();
    commands.map_err(|_| Failure::Garbled("catalogue"))
}

async fn list(commands: &CommandsProxy<'_>, json: bool) -> Result<(), Failure> {
    let known = listed(&commands.list().await?)?;
    let mut output = Output::new();
    if json {
        return output.json(&known).await;
    }
    let width = known.iter().map(|it| it.name.len()).max().unwrap_or(0);
    for command in known {
        let line = format!(
            "{:width$}  {}",
            command.name,
            one_line(&command.description)
        );
        output.line(&line).await?;
    }
    Ok(())
}

/// A text, and the arguments expected for it; `None`: it is no command.
#[derive(Debug, Deserialize)]
struct Example {
    say: String,
    arguments: Option<Value>,
}

/// The part of a command's parameters that says their defaults.
#[derive(Debug, Deserialize)]
struct Parameters {
    properties: BTreeMap<String, Property>,
}

#[derive(Debug, Deserialize)]
struct Property {
    default: Option<Value>,
}

impl Example {
    /// Adds the defaults of the arguments that the example leaves out.
    fn with_defaults(mut self, command: &CommandInfo) -> Result<Self, Failure> {
        let parameters: Parameters =
            serde_json::from_str(&command.parameters).map_err(|error| {
                Failure::Failed(format!("cannot understand the parameters: {error}"))
            })?;
        if let Some(Value::Object(arguments)) = &mut self.arguments {
            for (name, property) in parameters.properties {
                if let Some(default) = property.default {
                    arguments.entry(name).or_insert(default);
                }
            }
        }
        Ok(self)
    }
}

/// Invokes every example of the catalogue as a dry run, and counts the outcomes.
async fn test(
    commands: &CommandsProxy<'_>,
    known: &[CommandInfo],
    json: bool,
) -> Result<(), Failure> {
    let mut confusion = Confusion::default();
    for command in known {
        let examples: Vec<Example> =
            serde_json::from_str(&command.examples).map_err(|_| Failure::Garbled("examples"))?;
        for example in examples {
            let options = InvokeOptions {
                dry_run: Some(true),
            };
            let (outcome, _, invoked, _) = commands.invoke(&example.say, options).await?;
            let example = example.with_defaults(command)?;
            confusion.count(&command.name, &example, outcome, &invoked);
        }
    }
    let text = if json {
        confusion.json()
    } else {
        confusion.text()
    };
    Output::new().line(&text).await?;
    if confusion.right == confusion.all {
        Ok(())
    } else {
        Err(Failure::NotDone)
    }
}

/// Counts of examples, and the mistakes among them.
#[derive(Debug, Default)]
struct Confusion {
    all: usize,
    right: usize,
    /// Number of mistakes and the first example, by expected and actual outcome.
    mistakes: BTreeMap<(String, String), (usize, String)>,
}

impl Confusion {
    fn count(&mut self, name: &str, example: &Example, outcome: Outcome, invoked: &[Invocation]) {
        self.all += 1;
        let (expected, is_right) = match &example.arguments {
            None => (format!("{name}: nothing"), outcome != Outcome::Commands),
            Some(arguments) => (name.to_owned(), is_exactly(name, arguments, invoked)),
        };
        if is_right {
            self.right += 1;
            return;
        }
        let came = match (outcome, invoked) {
            (Outcome::Commands, [one]) if one.name == name => format!("{name}, other arguments"),
            (Outcome::Commands, several) => {
                let names: Vec<_> = several.iter().map(|it| it.name.as_str()).collect();
                names.join(", ")
            }
            (Outcome::Question, _) => "a question".into(),
            (Outcome::Nothing, _) => "nothing".into(),
        };
        let mistake = self.mistakes.entry((expected, came));
        mistake.or_insert_with(|| (0, example.say.clone())).0 += 1;
    }

    fn json(&self) -> String {
        let mistakes = self.mistakes.iter().map(|((expected, came), (times, say))| {
            serde_json::json!({"expected": expected, "came": came, "times": times, "say": say})
        });
        let mistakes: Value = mistakes.collect();
        serde_json::json!({"examples": self.all, "right": self.right, "mistakes": mistakes})
            .to_string()
    }

    fn text(&self) -> String {
        let all = count(self.all, "example");
        let mut lines = vec![format!("{} of {all} right", self.right)];
        if !self.mistakes.is_empty() {
            let mut rows = vec![["expected", "came", "times", "as in"].map(str::to_owned)];
            let mistakes = self.mistakes.iter();
            rows.extend(mistakes.map(|((expected, came), (times, say))| {
                [
                    expected.clone(),
                    came.clone(),
                    times.to_string(),
                    one_line(say).into_owned(),
                ]
            }));
            let width = |column: usize| {
                rows.iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            };
            let (first, second) = (width(0), width(1));
            lines.extend(rows.iter().map(|[expected, came, times, say]| {
                format!("{expected:first$}  {came:second$}  {times:>5}  {say}")
            }));
        }
        lines.join("\n")
    }
}

fn is_exactly(name: &str, arguments: &Value, invoked: &[Invocation]) -> bool {
    let [one] = invoked else { return false };
    let came: Option<Value> = serde_json::from_str(&one.arguments).ok();
    one.name == name && came.as_ref() == Some(arguments)
}

#[cfg(test)]
mod tests {
    use gemmad_api::InvocationStatus;

    use super::*;

    fn invoked(name: &str, arguments: &str) -> Invocation {
        Invocation {
            id: 1,
            name: name.into(),
            arguments: arguments.into(),
            status: InvocationStatus::DryRun,
            result: String::new(),
        }
    }

    #[test]
    fn mistakes_are_counted_by_what_was_expected_and_what_came() {
        let mut confusion = Confusion::default();
        let example = |arguments: Option<Value>| Example {
            say: "turn left".into(),
            arguments,
        };
        let left = serde_json::json!({"direction": "left"});
        let call = example(Some(left));
        for came in [
            &[invoked("turn", r#"{"direction":"left"}"#)][..],
            &[invoked("turn", r#"{"direction":"right"}"#)],
            &[invoked("stop", "{}")],
            &[invoked("stop", "{}")],
        ] {
            confusion.count("turn", &call, Outcome::Commands, came);
        }
        confusion.count("turn", &call, Outcome::Question, &[]);
        confusion.count("turn", &example(None), Outcome::Nothing, &[]);
        assert_eq!(
            confusion.text(),
            "2 of 6 examples right\n\
             expected  came                   times  as in\n\
             turn      a question                 1  turn left\n\
             turn      stop                       2  turn left\n\
             turn      turn, other arguments      1  turn left"
        );
    }
}
