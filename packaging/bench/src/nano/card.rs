//! The results in the model's card, `models/nano/README.md`.

use anyhow::{Context, Result};
use xtask::command::root;

use super::report::Report;
use crate::figure::Figure;

/// The lines before and after the results.
const BEGIN: &str = "<!-- results: written by cargo xtask bench nano -->\n";
const END: &str = "<!-- /results -->\n";

/// Replaces the results in the card.
pub fn write(report: &Report, figures: &[Figure]) -> Result<()> {
    let path = root().join("models/nano/README.md");
    let card = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let card = replaced(&card, &section(report, figures))?;
    std::fs::write(&path, card).with_context(|| format!("cannot write {}", path.display()))
}

/// The card with the section replaced.
fn replaced(card: &str, section: &str) -> Result<String> {
    let parts = card.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}{section}{END}{after}"))
    });
    parts.with_context(|| {
        format!("models/nano/README.md has no place for the results; put the lines {BEGIN}{END}where they belong")
    })
}

fn section(report: &Report, figures: &[Figure]) -> String {
    let figures = figures.iter().filter_map(|it| {
        let set = report.set_of(it)?;
        let goal = it.goal.as_deref().unwrap_or("-");
        Some([
            code(&it.name),
            code(&set.set),
            goal.into(),
            it.measured(),
            set.count.to_string(),
        ])
    });
    let voices = report.sets.iter().flat_map(|set| &set.voices);
    let voices = voices.map(|(voice, exact)| [code(voice), format!("{exact:.3}")]);
    let wrong = report.confusions().into_iter();
    let wrong = wrong.map(|it| [it.expected, it.given, it.count.to_string()]);
    let files = report.files.iter();
    let files = files.map(|it| [code(&it.name), it.bytes.to_string(), code(&it.sha256)]);
    [
        format!("By the daemon's own engine, at commit {}.\n", report.commit),
        table(["figure", "set", "goal", "measured", "questions"], figures),
        table(["voice of `other_engine`", "exact"], voices),
        table(["wrong answers: expected", "given", "times"], wrong),
        table(["file", "bytes", "SHA-256"], files),
    ]
    .join("\n")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.join(" | "));
    let rule = "|---".repeat(N) + "|\n";
    let head = line(head.map(str::to_owned)) + &rule;
    head + &rows.map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_results_replace_the_old_ones_and_nothing_else() {
        let card = format!("# Nano\n{BEGIN}old\n{END}## Licence\n");
        let section = table(["file", "bytes"], [[code("a"), "1".into()]].into_iter());
        let card = replaced(&card, &section).unwrap();
        let expected = "| file | bytes |\n|---|---|\n| `a` | 1 |\n";
        assert_eq!(card, format!("# Nano\n{BEGIN}{expected}{END}## Licence\n"));
        assert!(replaced("# Nano\n", "").is_err());
    }
}
