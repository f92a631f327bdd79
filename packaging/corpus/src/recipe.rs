//! The recipe of the corpus: which recordings are in which packages.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    fetch::Registry,
    recording::Kind,
    split::{Split, allows_training},
    transcript::Transcript,
};

/// The recipe of the corpus.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Recordings, package by package. A file belongs to the first that matches it.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// Recordings of one kind, under one licence, in one package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// Where the package comes from.
    #[serde(default)]
    pub registry: Registry,
    /// Name of the package, with `@VERSION` outside Debian.
    pub package: String,
    /// Patterns of the sound files.
    pub files: Vec<String>,
    /// Patterns of files among those that are something else.
    #[serde(default)]
    pub except: Vec<String>,
    /// What is heard.
    pub kind: Kind,
    /// Template of the language.
    pub language: Option<String>,
    /// Template of the group: the speaker, the piece or the prompt. Files of one group are in the same split.
    #[serde(default = "every_file")]
    pub group: String,
    /// What is said.
    pub transcript: Option<Transcript>,
    /// SPDX identifier.
    pub licence: String,
    /// The words of the copyright file that say so.
    pub evidence: String,
    /// The copyright file, if it is not where Debian has it.
    pub copyright: Option<String>,
    /// The split, if it is not the one of [`Split::of`].
    pub split: Option<Split>,
    /// Length of the shortest recording, in seconds.
    #[serde(default = "shortest")]
    pub shortest: f64,
    /// Sample rate of files without a header (16-bit little-endian, mono), in Hz.
    pub rate: Option<u32>,
    /// What somebody who uses it should know.
    pub caveat: Option<String>,
}

/// Each file is a group of its own. `path` is a part of every pattern.
fn every_file() -> String {
    "{path}".into()
}

/// A shorter recording is no word yet.
fn shortest() -> f64 {
    0.2
}

impl Recipe {
    /// The recipe of this repository.
    pub fn read() -> Result<Self> {
        let parts = [
            ("speech", include_str!("../recipe/speech.toml")),
            ("music", include_str!("../recipe/music.toml")),
            ("noise", include_str!("../recipe/noise.toml")),
        ];
        let mut sources = Vec::new();
        for (name, text) in parts {
            let part = Self::parse(text).with_context(|| format!("in recipe/{name}.toml"))?;
            sources.extend(part.sources);
        }
        Ok(Self { sources })
    }

    fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text)?;
        for source in &recipe.sources {
            source
                .check()
                .with_context(|| format!("of {}", source.package))?;
        }
        Ok(recipe)
    }
}

impl Source {
    fn check(&self) -> Result<()> {
        ensure!(
            self.split != Some(Split::Training) || allows_training(&self.licence),
            "{} does not allow training",
            self.licence
        );
        ensure!(!self.evidence.is_empty(), "a licence needs its evidence");
        ensure!(
            self.package.contains('@') || self.registry == Registry::Debian,
            "outside Debian a package needs a version"
        );
        Ok(())
    }

    /// The copyright file, relative to the package.
    pub fn copyright(&self) -> String {
        let debian = || format!("usr/share/doc/{}/copyright", self.package);
        self.copyright.clone().unwrap_or_else(debian)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    const SOURCE: &str =
        "[[source]]\npackage = 'p'\nfiles = ['*.wav']\nkind = 'music'\nevidence = 'e'\n";

    #[test]
    fn the_recipe_of_this_repository_is_valid() {
        let recipe = Recipe::read().unwrap();
        for source in &recipe.sources {
            for pattern in source.files.iter().chain(&source.except) {
                Pattern::parse(pattern).unwrap();
            }
            let is_voice = matches!(source.kind, Kind::Speech);
            assert!(!is_voice || source.language.is_some(), "{}", source.package);
        }
    }

    #[test]
    fn training_needs_a_licence_that_allows_it() {
        let source = |licence| format!("{SOURCE}licence = '{licence}'\nsplit = 'training'\n");
        assert!(Recipe::parse(&source("CC-BY-3.0")).is_ok());
        assert!(Recipe::parse(&source("CC-BY-SA-3.0")).is_err());
    }

    #[test]
    fn outside_debian_a_version_is_needed() {
        let source = |package| {
            format!("{SOURCE}licence = 'MIT'\nregistry = 'pypi'\n").replace("'p'", package)
        };
        assert!(Recipe::parse(&source("'p@1.0.0'")).is_ok());
        assert!(Recipe::parse(&source("'p'")).is_err());
    }
}
