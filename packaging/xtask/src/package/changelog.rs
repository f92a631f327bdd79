//! `CHANGELOG.md` in Debian's format: deb-changelog(5).

use std::{fmt::Write, fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::command::{output, root};

/// Maximum length of a line, in characters, by Debian's convention.
const WIDTH: usize = 78;

/// Writes the changelog of a package of `version` into `file`.
pub fn write(file: &Path, version: &str, maintainer: &str) -> Result<()> {
    let source = root().join("CHANGELOG.md");
    let text =
        fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    // The date of the commit, so that the same commit makes the same package.
    let last_commit = ["log", "-1", "--format=%cD"];
    let date = output(Command::new("git").current_dir(root()).args(last_commit))?;
    let entry = entry(&newest(&text), version, maintainer, date.trim());
    fs::write(file, entry).with_context(|| format!("cannot write {}", file.display()))
}

/// The items of the newest section that has any, each on one line.
fn newest(text: &str) -> Vec<String> {
    let mut points: Vec<String> = Vec::new();
    let sections = text.split("\n## ");
    let section = sections.skip(1).find(|section| section.contains("\n- "));
    for line in section.unwrap_or_default().lines() {
        if let Some(point) = line.strip_prefix("- ") {
            points.push(point.into());
        } else if let (true, Some(point)) = (line.starts_with("  "), points.last_mut()) {
            point.push(' ');
            point.push_str(line.trim());
        }
    }
    points
}

fn entry(points: &[String], version: &str, maintainer: &str, date: &str) -> String {
    let mut entry = format!("gemmad ({version}) unstable; urgency=medium\n\n");
    for point in points {
        let mut start = "  * ";
        for line in wrapped(point) {
            // Writing to a string cannot fail.
            let _ = writeln!(entry, "{start}{line}");
            start = "    ";
        }
    }
    let _ = writeln!(entry, "\n -- {maintainer}  {date}");
    entry
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        // There is always at least one line.
        let line = lines.last_mut();
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= WIDTH - 4 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_section_becomes_debians_entry() {
        let text = "# Changelog\n\nWords.\n\n## Unreleased\n\n### Added\n- One thing\n  goes on.\n- \
                    Another.\n\n## 0.0.1\n\n- Old.\n";
        let entry = entry(
            &newest(text),
            "0.1.0-1",
            "We <we@example.org>",
            "Tue, 1 Jan 2030",
        );
        let expected = "\
gemmad (0.1.0-1) unstable; urgency=medium

  * One thing goes on.
  * Another.

 -- We <we@example.org>  Tue, 1 Jan 2030
";
        assert_eq!(entry, expected);
    }

    #[test]
    fn no_line_is_longer_than_debian_likes() {
        let point = vec!["word ".repeat(60)];
        let entry = entry(&point, "1", "We <we@example.org>", "now");
        assert!(entry.lines().all(|line| line.len() <= WIDTH), "{entry}");
        assert_eq!(entry.matches("word").count(), 60);
    }
}
