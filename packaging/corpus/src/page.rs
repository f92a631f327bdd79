//! The tables of `docs/corpus.md`, and the summary on the terminal.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    recipe::Recipe,
    recording::{Kind, Recording},
    split::Split,
};

/// The line before the tables.
const BEGIN: &str = "<!-- These tables are written by `cargo xtask corpus`. -->\n";

/// The line after the tables.
const END: &str = "<!-- End of the tables. -->";

/// Number and length of some recordings.
#[derive(Debug, Default, Clone, Copy)]
struct Amount {
    count: usize,
    transcribed: usize,
    seconds: f64,
}

impl Amount {
    fn of<'a>(recordings: impl IntoIterator<Item = &'a Recording>) -> Self {
        let mut amount = Self::default();
        for recording in recordings {
            amount.count += 1;
            amount.transcribed += usize::from(recording.transcript.is_some());
            amount.seconds += recording.seconds;
        }
        amount
    }

    fn hours(self) -> f64 {
        self.seconds / 3600.0
    }

    /// As in a table: `12 (0.50 h)`.
    fn cell(self) -> String {
        match self.count {
            0 => "-".into(),
            count => format!("{count} ({:.2} h)", self.hours()),
        }
    }
}

/// What is in a list: each kind in each split.
pub fn summary(recordings: &[Recording]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        for split in Split::ALL {
            let some = recordings
                .iter()
                .filter(|it| it.kind == kind && it.split == split);
            let amount = Amount::of(some);
            if amount.count > 0 {
                rows.push((format!("{kind}, {}", split.name()), amount.cell()));
            }
        }
    }
    rows
}

/// Writes the tables into the page, between their marks.
pub fn update(page: &Path, recipe: &Recipe, recordings: &[Recording]) -> Result<()> {
    let text =
        fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let new = replaced(&text, &tables(recipe, recordings)?)
        .with_context(|| format!("{} has no marks for the tables", page.display()))?;
    if new != text {
        fs::write(page, new)?;
    }
    Ok(())
}

/// The page with other tables.
fn replaced(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

fn tables(recipe: &Recipe, recordings: &[Recording]) -> Result<String> {
    let sections = [
        ("By kind", by_kind(recordings)?),
        ("Speech by language", by_language(recordings)?),
        ("By package", by_package(recordings)?),
        ("Where the licences stand", licences(recipe)?),
    ];
    let sections = sections.map(|(title, table)| format!("### {title}\n\n{table}"));
    Ok(sections.join("\n"))
}

fn header(text: &mut String, names: &[&str]) -> Result<()> {
    writeln!(text, "| {} |", names.join(" | "))?;
    writeln!(text, "|{}", "---|".repeat(names.len()))?;
    Ok(())
}

/// The amounts of each split as cells.
fn cells(recordings: &[&Recording]) -> String {
    Split::ALL
        .map(|split| Amount::of(recordings.iter().copied().filter(|it| it.split == split)).cell())
        .join(" | ")
}

fn by_kind(recordings: &[Recording]) -> Result<String> {
    let mut text = String::new();
    header(&mut text, &["kind", "training", "tuning", "held-out"])?;
    for kind in Kind::ALL {
        let some: Vec<_> = recordings.iter().filter(|it| it.kind == kind).collect();
        writeln!(text, "| {kind} | {} |", cells(&some))?;
    }
    Ok(text)
}

fn by_language(recordings: &[Recording]) -> Result<String> {
    let mut languages: BTreeMap<&str, Vec<&Recording>> = BTreeMap::new();
    for recording in recordings.iter().filter(|it| it.kind == Kind::Speech) {
        let language = recording.language.as_deref().unwrap_or("unknown");
        languages.entry(language).or_default().push(recording);
    }
    let mut text = String::new();
    header(
        &mut text,
        &[
            "language",
            "with a transcript",
            "training",
            "tuning",
            "held-out",
        ],
    )?;
    for (language, some) in languages {
        let transcribed = Amount::of(some.iter().copied()).transcribed;
        writeln!(text, "| {language} | {transcribed} | {} |", cells(&some))?;
    }
    Ok(text)
}

fn by_package(recordings: &[Recording]) -> Result<String> {
    let mut packages: BTreeMap<(&str, Kind, &str), Vec<&Recording>> = BTreeMap::new();
    for it in recordings {
        let key = (it.package.as_str(), it.kind, it.licence.as_str());
        packages.entry(key).or_default().push(it);
    }
    let mut text = String::new();
    header(
        &mut text,
        &[
            "package",
            "kind",
            "languages",
            "licence",
            "training",
            "tuning",
            "held-out",
        ],
    )?;
    for ((package, kind, licence), some) in packages {
        let languages: BTreeSet<_> = some
            .iter()
            .filter_map(|it| it.language.as_deref())
            .collect();
        let languages = languages.into_iter().collect::<Vec<_>>().join(", ");
        let cells = cells(&some);
        writeln!(
            text,
            "| `{package}` | {kind} | {languages} | {licence} | {cells} |"
        )?;
    }
    Ok(text)
}

/// What the copyright files say, and what else is to be known.
fn licences(recipe: &Recipe) -> Result<String> {
    let mut rows = BTreeSet::new();
    for source in &recipe.sources {
        let caveat = source.caveat.as_deref().unwrap_or_default();
        rows.insert((&source.package, &source.licence, &source.evidence, caveat));
    }
    let mut text = String::new();
    header(
        &mut text,
        &[
            "package",
            "licence",
            "words of its copyright file",
            "caveat",
        ],
    )?;
    for (package, licence, evidence, caveat) in rows {
        let evidence = quoted(evidence);
        writeln!(
            text,
            "| `{package}` | {licence} | `{evidence}` | {caveat} |"
        )?;
    }
    Ok(text)
}

/// The words of a copyright file for a cell, without people's addresses.
fn quoted(evidence: &str) -> String {
    let words = evidence
        .split_whitespace()
        .filter(|word| !word.contains('@'));
    words.collect::<Vec<_>>().join(" ").replace(['|', '`'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(kind: Kind, split: Split, seconds: f64) -> Recording {
        Recording {
            path: String::new(),
            kind,
            language: (kind == Kind::Speech).then(|| "en".into()),
            transcript: (kind == Kind::Speech).then(|| "yes".into()),
            group: String::new(),
            package: "p".into(),
            licence: "MIT".into(),
            split,
            seconds,
            rate: None,
        }
    }

    #[test]
    fn tables_replace_only_what_is_between_the_marks() {
        let page = format!("before\n\n{BEGIN}old\n{END}\n\nafter\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("before\n\n{BEGIN}\nnew\n\n{END}\n\nafter\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert_eq!(replaced("no marks", "new"), None);
    }

    #[test]
    fn a_table_has_numbers_and_hours_of_each_split() {
        let recordings = [
            recording(Kind::Speech, Split::Tuning, 900.0),
            recording(Kind::Speech, Split::Tuning, 900.0),
            recording(Kind::Music, Split::HeldOut, 7200.0),
        ];
        let by_kind = by_kind(&recordings).unwrap();
        assert!(
            by_kind.contains("| speech | - | 2 (0.50 h) | - |\n"),
            "{by_kind}"
        );
        assert!(
            by_kind.contains("| music | - | - | 1 (2.00 h) |\n"),
            "{by_kind}"
        );
        let by_language = by_language(&recordings).unwrap();
        assert!(
            by_language.contains("| en | 2 | - | 2 (0.50 h) | - |\n"),
            "{by_language}"
        );
        let by_package = by_package(&recordings).unwrap();
        assert!(
            by_package.contains("| `p` | music |  | MIT | - | - | 1 (2.00 h) |\n"),
            "{by_package}"
        );
    }

    #[test]
    fn addresses_are_not_quoted() {
        let evidence = "Copyright: 2004,\n Ann <ann@example.org>\nLicense: GPL-2";
        assert_eq!(quoted(evidence), "Copyright: 2004, Ann License: GPL-2");
    }

    #[test]
    fn the_summary_leaves_out_what_there_is_not() {
        let rows = summary(&[recording(Kind::Noise, Split::Training, 36.0)]);
        assert_eq!(rows, [("noise, training".into(), "1 (0.01 h)".into())]);
    }
}
