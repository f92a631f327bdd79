//! Mistakes in a catalogue that its keys do not show: no model can be held to it, or it is not what was meant.

use std::collections::BTreeMap;
use std::{fs, io};

use nix::unistd::User;

use super::call::{CLOSE, OPEN, QUOTE};
use super::written::{Source, Which};
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
            .check(&[OPEN, CLOSE, QUOTE, END])
            .is_ok()
    }
}

impl Source {
    /// What is surely not meant: users and programs that this machine does not have.
    pub(super) fn doubts(&self) -> Vec<CatalogueError> {
        let named = self.named().into_iter();
        let doubts = named.filter_map(|named| {
            let message = missing(&named.which)?;
            Some(self.invalid_named(&named, &message))
        });
        doubts.collect()
    }
}

/// What is to be done about what this machine does not have; `None` if it does, as far as that can be told.
fn missing(which: &Which) -> Option<String> {
    match which {
        Which::User(name) => is_unknown(name).then(|| {
            format!("there is no user {name} on this machine; mind the spelling, or `adduser` them")
        }),
        Which::Program(path) => {
            let found = fs::metadata(path);
            let is_missing = found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            is_missing.then(|| {
                let path = shown(path);
                format!(
                    "there is no program {path} where gemmad runs; mind the spelling, or install it"
                )
            })
        }
    }
}

/// Whether a name is surely no user's. A user without a name goes by the number.
fn is_unknown(name: &str) -> bool {
    // Where the users of a network cannot be asked for, nobody is called unknown.
    name.parse::<u32>().is_err() && matches!(User::from_name(name), Ok(None))
}
