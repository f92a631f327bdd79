//! Mistakes in a catalogue that its keys do not show: that no model can be held to it, or that it is not what was meant.

use std::collections::BTreeMap;

use nix::unistd::User;

use super::call::{CLOSE, OPEN, QUOTE};
use super::written::Source;
use super::{Catalogue, CatalogueError, Command, Name, folder};
use crate::engine::Form;
use crate::platform::file::shown;

/// Ends a turn, in a vocabulary without a model.
const END: &str = "<turn|>";

impl Catalogue {
    /// Reads a file, and refuses it also for what [`Catalogue::load`] would only warn of. If its path is that of a file
    /// with this text, as the daemon sees it, whether it is to be trusted is checked too. It takes a while.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(file: Source) -> Result<Self, CatalogueError> {
        let catalogue = file.catalogue()?;
        let files = [file];
        catalogue.check_grammar(&files, || shown(files[0].path()))?;
        let [file] = files;
        match file.doubts().into_iter().next() {
            Some(doubt) => Err(doubt),
            None => folder::check_trust(file.path(), file.text()).map(|()| catalogue),
        }
    }

    /// Compiles the grammar as an engine does.
    pub(super) fn check_grammar(
        &self,
        sources: &[Source],
        named: impl FnOnce() -> String,
    ) -> Result<(), CatalogueError> {
        if self.compiles() {
            return Ok(());
        }
        let alone = |(name, command): &(&Name, &Command)| Self {
            commands: BTreeMap::from([((*name).clone(), (*command).clone())]),
        };
        let mut commands = self.commands.iter();
        let culprit = commands.find(|command| !alone(command).compiles());
        let culprit = culprit.map(|(name, _)| name);
        let source = culprit.and_then(|name| {
            let has_it = |source: &&Source| source.has_command(name.as_str());
            sources.iter().find(has_it).map(|source| (source, name))
        });
        Err(match source {
            Some((source, name)) => source.invalid_command(
                name.as_str(),
                "its parameters allow more than a model can be held to; use fewer `values`, a coarser `step`, \
                 a smaller `most` or `longest`",
            ),
            None => CatalogueError::TooMany {
                folders: named(),
                why: "no model can be held to all of them at once".into(),
            },
        })
    }

    fn compiles(&self) -> bool {
        Form::Lark(self.grammar())
            .check(&[OPEN, CLOSE, QUOTE])
            .is_ok()
    }
}

impl Source {
    /// What is surely not meant: users whom this machine does not know.
    pub(super) fn doubts(&self) -> Vec<CatalogueError> {
        let users = self.users().into_iter();
        let unknown = users.filter(|named| is_unknown(&named.user));
        let doubts = unknown.map(|named| {
            let message = format!(
                "there is no user {} on this machine; mind the spelling, or `adduser` them",
                named.user
            );
            self.invalid_user(&named, &message)
        });
        doubts.collect()
    }
}

/// Whether a name is surely no user's. A user without a name goes by the number.
fn is_unknown(name: &str) -> bool {
    // Where the users of a network cannot be asked for, nobody is called unknown.
    name.parse::<u32>().is_err() && matches!(User::from_name(name), Ok(None))
}

#[cfg(test)]
mod experiment {
    use super::super::{Call, Kind};
    use super::*;
    use serde_json::{Value, json};
    use std::path::Path;

    fn join(count: usize, one: impl Fn(usize) -> String) -> String {
        (0..count).map(one).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn probe() {
        let command = |parameters: String| {
            format!("[commands.a]\ndescription='A'\n[commands.a.parameters]\n{parameters}\n")
        };
        let number = |min: &str, max: &str, step: &str| {
            command(format!(
                "x = {{ type='number', min={min}, max={max}{} }}",
                if step.is_empty() {
                    String::new()
                } else {
                    format!(", step={step}")
                }
            ))
        };
        let integer = |min: &str, max: &str, step: &str| {
            command(format!(
                "x = {{ type='integer', min={min}, max={max}{} }}",
                if step.is_empty() {
                    String::new()
                } else {
                    format!(", step={step}")
                }
            ))
        };
        let mut all: Vec<(String, String)> = vec![];
        for n in [10, 256] {
            all.push((
                format!("enum {n}"),
                command(format!(
                    "x = {{ type='enum', values=[{}] }}",
                    join(n, |i| format!("'value number {i}'"))
                )),
            ));
            all.push((
                format!("list {n}"),
                command(format!(
                    "x = {{ type='list', most=64, values=[{}] }}",
                    join(n, |i| format!("'value number {i}'"))
                )),
            ));
            all.push((
                format!("enum {n} long"),
                command(format!(
                    "x = {{ type='enum', values=[{}] }}",
                    join(n, |i| format!("'{}{i}'", "v".repeat(200)))
                )),
            ));
        }
        for n in [64, 128, 256] {
            for m in [0, 2, 8, 16] {
                all.push((format!("{n} commands {m} parameters"), (0..n).map(|c| format!("[commands.c{c}]\ndescription='A'\n[commands.c{c}.parameters]\n{}\n", (0..m).map(|p| format!("p{p} = {{type='integer', min=0,max=100}}\n")).collect::<String>())).collect::<String>()));
            }
        }
        all.push((
            "256 optional".into(),
            (0..256)
                .map(|c| {
                    format!(
                        "[commands.c{c}]\ndescription='A'\n[commands.c{c}.parameters]\n{}\n",
                        (0..3)
                            .map(|p| format!("p{p} = {{type='string', required=false}}\n"))
                            .collect::<String>()
                    )
                })
                .collect::<String>(),
        ));
        all.push((
            "16 strings".into(),
            command(
                (0..16)
                    .map(|p| format!("p{p:02} = {{type='string', longest=1000}}\n"))
                    .collect::<String>(),
            ),
        ));
        all.push((
            "16 lists".into(),
            command(
                (0..16)
                    .map(|p| format!("p{p:02} = {{type='list', longest=1000, most=64}}\n"))
                    .collect::<String>(),
            ),
        ));
        for step in [
            "",
            "0.001",
            "0.007",
            "0.07",
            "0.1",
            "0.25",
            "0.29",
            "0.333",
            "0.5",
            "1.1",
            "1.001",
            "7",
            "97",
            "999",
            "99.999",
            "1000",
            "1234.567",
            "12345.678",
            "65537",
            "99999",
            "100000",
        ] {
            for max in ["0", "10", "100", "1e5", "1e6", "1e9", "9007199254740991"] {
                all.push((
                    format!("number 0..{max} step {step}"),
                    number("0", max, step),
                ));
            }
        }
        for step in ["", "7", "999", "65537", "99991", "100000"] {
            for max in ["1000", "1e6", "9007199254740991"] {
                all.push((
                    format!("integer 0..{max} step {step}"),
                    integer("0", max, step),
                ));
            }
        }
        all.push((
            "negative".into(),
            number("-9007199254740991", "9007199254740991", ""),
        ));
        all.push(("tiny".into(), number("-5e-324", "5e-324", "")));
        all.push((
            "tiny2".into(),
            number("0.1234567890123", "0.12345678901234", ""),
        ));
        all.push(("tiny3".into(), number("1e-300", "9007199254740990.9", "")));
        for (name, text) in all {
            let catalogue = match Catalogue::parse(Path::new("x"), &text) {
                Ok(catalogue) => catalogue,
                Err(error) => {
                    println!("{name}: refused {error}");
                    continue;
                }
            };
            let (command_name, command) = catalogue.commands.last_key_value().unwrap();
            let arguments = command
                .parameters
                .iter()
                .map(|(name, parameter)| {
                    let value: Value = match &parameter.kind {
                        Kind::Enum(values) => json!(values.last().unwrap().as_str()),
                        Kind::Integer { min, max, step } => json!(max / step * step)
                            .as_i64()
                            .filter(|v| v >= min)
                            .map_or(json!(min), Value::from),
                        Kind::Number { min, max, step } => {
                            let v = step.map_or(*max, |s| (max / s).floor() * s);
                            parameter
                                .kind
                                .fit(&json!((v * 1000.0).round() / 1000.0))
                                .or_else(|_| parameter.kind.fit(&json!(min)))
                                .unwrap_or(json!(min))
                        }
                        Kind::Boolean => json!(true),
                        Kind::String { .. } => json!("wört".repeat(50)),
                        Kind::List { values, most, .. } => json!(
                            (0..*most)
                                .map(|_| values.last().map_or("w", |v| v.as_str()))
                                .collect::<Vec<_>>()
                        ),
                    };
                    (name.to_string(), value)
                })
                .collect();
            let call = Call {
                name: command_name.to_string(),
                arguments,
            };
            let witness = call.to_string();
            let grammar = catalogue.grammar();
            let bytes = grammar.len();
            let walked = Form::Lark(grammar).walk(&[OPEN, CLOSE, QUOTE, END], &witness);
            println!(
                "{name}: {bytes} {:?} {}",
                walked,
                witness.chars().skip(11).take(60).collect::<String>()
            );
        }
    }
}
