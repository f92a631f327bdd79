//! Mistakes in a catalogue that its keys do not show: a grammar that does not compile, or names of users and programs
//! that do not exist.

use std::collections::BTreeMap;
use std::{fs, io};

use nix::unistd::User;

use super::call::{CLOSE, OPEN, QUOTE};
use super::written::{Source, Which};
use super::{Catalogue, CatalogueError, Command, Name, folder};
use crate::engine::Form;
use crate::platform::file::shown;

/// The token that ends a turn, for compiling a grammar without a model's vocabulary.
const END: &str = "<turn|>";

impl Catalogue {
    /// Reads a file, and refuses it also for the mistakes of which [`Catalogue::load`] only warns. If the daemon finds
    /// this text at the file's path, the owner and the mode of that file are checked too. Takes a while, because the
    /// grammar is compiled.
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
    ///
    /// # Errors
    /// The command whose grammar alone does not compile, or [`CatalogueError::TooMany`].
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
                "its parameters allow too many values for a grammar; use fewer `values`, a coarser `step`, \
                 a smaller `most` or `longest`",
            ),
            None => CatalogueError::TooMany {
                folders: named(),
                why: "their grammar is too large".into(),
            },
        })
    }

    fn compiles(&self) -> bool {
        Form::Lark(self.grammar().into())
            .check(&[OPEN, CLOSE, QUOTE, END])
            .is_ok()
    }
}

impl Source {
    /// Names that are surely mistakes: users and programs that this machine does not have.
    pub(super) fn doubts(&self) -> Vec<CatalogueError> {
        let named = self.named().into_iter();
        let doubts = named.filter_map(|named| {
            let message = missing(&named.which)?;
            Some(self.invalid_named(&named, &message))
        });
        doubts.collect()
    }
}

/// The error message about a user or a program that this machine does not have; `None` if it has it, or that cannot be
/// told.
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

/// Whether certainly no user has this name. A number is never unknown: it stands for a user without a name.
fn is_unknown(name: &str) -> bool {
    // A failed lookup, such as of a network's users, does not make a name unknown.
    name.parse::<u32>().is_err() && matches!(User::from_name(name), Ok(None))
}
