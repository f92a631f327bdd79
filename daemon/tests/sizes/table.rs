//! The tables of sizes and quantisations in `docs/models.md`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::model::{Gemma, QUANTISATIONS, SIZES};
use super::reference::Judged;

/// What the table of sizes stands between, and that of quantisations.
const SIZES_BETWEEN: [&str; 2] = [
    "<!-- Sizes, by `daemon/tests/sizes`. -->\n",
    "<!-- End. -->",
];
const TIES_BETWEEN: [&str; 2] = ["<!-- Ties, by `daemon/tests/sizes`. -->\n", "<!-- End. -->"];

/// What each size can do, as the other tests here try it.
fn sizes() -> String {
    let mut table =
        String::from("| model | what is peculiar | hears | commands |\n|---|---|---|---|\n");
    for gemma in &SIZES {
        let [hears, calls] = [gemma.hears, gemma.calls].map(|it| if it { "yes" } else { "no" });
        let Gemma {
            title, structure, ..
        } = gemma;
        row(
            &mut table,
            [*title, *structure, hears, calls].map(str::to_owned),
        );
    }
    table
}

/// The heading of the table of quantisations.
fn heading() -> String {
    let mut heading = String::new();
    let titles = SIZES.iter().map(|gemma| gemma.title.to_owned());
    row(&mut heading, ["ties".to_owned()].into_iter().chain(titles));
    row(&mut heading, (0..=SIZES.len()).map(|_| "---".to_owned()));
    heading
}

/// The table of quantisations: of each size how many tokens were ties, and of how many.
pub fn ties(judged: &[[Judged; SIZES.len()]; QUANTISATIONS.len()]) -> String {
    let mut table = heading();
    for (quantisation, judged) in QUANTISATIONS.iter().zip(judged) {
        let cells = judged
            .iter()
            .map(|it| format!("{} of {}", it.ties, it.tokens));
        row(
            &mut table,
            [quantisation.to_uppercase()].into_iter().chain(cells),
        );
    }
    table
}

fn row(table: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<_> = cells.into_iter().collect();
    // Writing to a string cannot fail.
    let _ = writeln!(table, "| {} |", cells.join(" | "));
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md")
}

/// What stands between the two marks, and what comes before and after.
fn parts<'a>(page: &'a str, [open, close]: [&str; 2]) -> [&'a str; 3] {
    let start = page.find(open).unwrap() + open.len();
    let end = start + page[start..].find(close).unwrap();
    [&page[start..end], &page[..start], &page[end..]]
}

/// The page with `table` between the two marks.
fn with(page: &str, marks: [&str; 2], table: &str) -> String {
    let [_, before, after] = parts(page, marks);
    [before, table, after].concat()
}

/// Writes both tables into the page, if that is wanted.
pub fn update(ties: &str) {
    if std::env::var_os("UPDATE").is_some() {
        let text = fs::read_to_string(page()).unwrap();
        let text = with(&text, SIZES_BETWEEN, &sizes());
        fs::write(page(), with(&text, TIES_BETWEEN, ties)).unwrap();
    }
}

#[test]
fn the_tables_of_models_are_those_that_are_tested() {
    let text = fs::read_to_string(page()).unwrap();
    assert_eq!(parts(&text, SIZES_BETWEEN)[0], sizes());
    let rows = parts(&text, TIES_BETWEEN)[0].strip_prefix(&heading());
    let rows = rows.expect("the sizes are others").lines();
    let named = rows.map(|row| row.split(" | ").next().unwrap().to_owned());
    let quantisations = QUANTISATIONS.map(|it| format!("| {}", it.to_uppercase()));
    assert_eq!(named.collect::<Vec<_>>(), quantisations);
}
