//! All figures of one model, and the files that they belong to.

use std::{fmt::Write, path::Path};

use anyhow::{Context, Result};
use gemmad_testbed::Model;
use serde::Serialize;
use sha2::{Digest, Sha256};
use xtask::say;

use super::score::{self, Confusion, Score};
use crate::figure::{Figure, commit};

/// The set on which variants are compared.
pub const COMPARED: &str = "voices";

/// Number of confusions shown.
const SHOWN: usize = 15;

/// All measurements of a model.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The measured commit, with `+` if there were uncommitted changes.
    pub commit: String,
    /// The model's files.
    pub files: Vec<File>,
    /// The sets, in order.
    pub sets: Vec<Score>,
    /// Variants, each measured on one set.
    pub variants: Vec<Variant>,
}

/// A change, and its score.
#[derive(Debug, Serialize)]
pub struct Variant {
    /// The change.
    pub change: Change,
    /// The score on the compared set.
    pub score: Score,
}

/// The change of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Change {
    /// The text model is `Q8_0` instead of F16.
    Text,
    /// The encoder's matrices are held in 8 bits instead of 16.
    Encoder,
    /// Silence is encoded as in llama.cpp instead of as in the reference.
    Mel,
}

/// A file, identified by its content.
#[derive(Debug, Serialize)]
pub struct File {
    /// Name without folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: usize,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

impl File {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let content =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default();
        let mut sha256 = String::new();
        for byte in Sha256::digest(&content) {
            write!(sha256, "{byte:02x}")?;
        }
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            bytes: content.len(),
            sha256,
        })
    }
}

/// The measure behind a figure.
#[derive(Debug, Clone, Copy)]
enum Measure {
    Exact,
    FalseAction,
    WordErrors,
    Difference(Change),
}

/// A figure to report.
struct Aim {
    figure: &'static str,
    set: &'static str,
    measure: Measure,
    goal: Option<&'static str>,
}

const fn aim(
    figure: &'static str,
    set: &'static str,
    measure: Measure,
    goal: Option<&'static str>,
) -> Aim {
    Aim {
        figure,
        set,
        measure,
        goal,
    }
}

/// The figures, a line each.
#[rustfmt::skip]
const AIMS: [Aim; 12] = [
    aim("nano_exact_voices", "voices", Measure::Exact, Some("≥ 0.97")),
    aim("nano_exact_voices_10db", "voices_10db", Measure::Exact, Some("≥ 0.95")),
    aim("nano_exact_combos", "combos", Measure::Exact, Some("≥ 0.92")),
    aim("nano_exact_other_engine", "other_engine", Measure::Exact, Some("≥ 0.90")),
    aim("nano_exact_text", "text", Measure::Exact, Some("≥ 0.98")),
    aim("nano_false_action", "out_of_domain", Measure::FalseAction, Some("≤ 0.02")),
    aim("nano_false_action_no_speech", "no_speech", Measure::FalseAction, Some("= 0")),
    aim("nano_wer_voices", "transcripts", Measure::WordErrors, Some("≤ 0.06")),
    aim("nano_wer_other", "transcripts_other", Measure::WordErrors, None),
    aim("nano_q8_difference", COMPARED, Measure::Difference(Change::Text), Some("≤ 0.5 points")),
    aim("nano_q8_encoder_difference", COMPARED, Measure::Difference(Change::Encoder), None),
    aim("nano_mel_difference", COMPARED, Measure::Difference(Change::Mel), None),
];

impl Measure {
    fn meaning(self, set: &str) -> String {
        match self {
            Self::Exact => {
                format!("Share of the answers to `{set}` that are right letter by letter.")
            }
            Self::FalseAction => {
                format!(
                    "Share of the answers to `{set}` that call a command; none is to be called."
                )
            }
            Self::WordErrors => format!("Word error rate over `{set}`."),
            Self::Difference(change) => {
                let change = match change {
                    Change::Text => "the text model as Q8_0 and as F16",
                    Change::Encoder => "the encoder's matrices in 8 bits and in 16",
                    Change::Mel => "the spectrogram of llama.cpp and of the reference",
                };
                format!("How far the shares of exact answers to `{set}` lie apart with {change}.")
            }
        }
    }

    fn unit(self) -> &'static str {
        if matches!(self, Self::Difference(_)) {
            "points"
        } else {
            ""
        }
    }
}

impl Report {
    /// A report for the commit that is checked out.
    pub fn new(files: Vec<File>, sets: Vec<Score>, variants: Vec<Variant>) -> Result<Self> {
        Ok(Self {
            commit: commit()?,
            files,
            sets,
            variants,
        })
    }

    /// The named figures.
    pub fn figures(&self, model: &Model) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for aim in &AIMS {
            if let Some(value) = self.value(aim) {
                let figure = Figure::new(aim.figure, aim.measure.unit(), vec![value], model)?;
                let figure = figure.meaning(&aim.measure.meaning(aim.set));
                figures.push(match aim.goal {
                    Some(goal) => figure.goal(goal),
                    None => figure,
                });
            }
        }
        Ok(figures)
    }

    fn value(&self, aim: &Aim) -> Option<f64> {
        let score = self.set(aim.set)?;
        match aim.measure {
            Measure::Exact => Some(score.exact),
            Measure::FalseAction => score.false_action,
            Measure::WordErrors => score.wer,
            Measure::Difference(change) => {
                let variant = self.variants.iter().find(|it| it.change == change)?;
                Some(100.0 * (score.exact - variant.score.exact).abs())
            }
        }
    }

    /// One of the sets.
    pub fn set(&self, name: &str) -> Option<&Score> {
        self.sets.iter().find(|score| score.set == name)
    }

    /// The set a figure was measured on.
    pub fn set_of(&self, figure: &Figure) -> Option<&Score> {
        let aim = AIMS.iter().find(|aim| aim.figure == figure.name)?;
        self.set(aim.set)
    }

    /// The commonest wrong answers where the answer is no transcript.
    pub fn confusions(&self) -> Vec<Confusion> {
        let mut confusions = score::confusions(self.sets.iter().filter(|it| it.wer.is_none()));
        confusions.truncate(SHOWN);
        confusions
    }

    /// Shows wrong answers and files.
    pub fn show(&self) {
        let confusions = self.confusions();
        if !confusions.is_empty() {
            say::step("The commonest wrong answers, by what was to be called");
        }
        let rows = confusions.into_iter();
        let rows = rows.map(|it| {
            (
                format!("{} → {}", it.expected, it.given),
                it.count.to_string(),
            )
        });
        say::results(&rows.collect::<Vec<_>>());
        say::step("The files");
        let rows = self.files.iter();
        let rows = rows.map(|it| {
            (
                it.name.clone(),
                format!("{} {:>9} bytes", it.sha256, it.bytes),
            )
        });
        say::results(&rows.collect::<Vec<_>>());
    }

    /// Writes all results into the folder of a run.
    pub fn save(&self, run: &Path) -> Result<()> {
        let path = run.join("results.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        say::success(&format!("{} is written", path.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::{Answer, Question};
    use super::*;

    /// A set of four answers, of which the first `right` are exact.
    fn score(set: &str, right: usize) -> Score {
        let answer = |at| Answer {
            question: Question {
                expected: "Done.".into(),
                ..Question::default()
            },
            text: if at < right { "Done." } else { "" }.into(),
        };
        Score::of(set, &(0..4).map(answer).collect::<Vec<_>>())
    }

    #[test]
    fn figures_come_from_the_sets_there_are_and_a_difference_is_in_points() {
        let sets = vec![score("voices", 3), score("transcripts", 1)];
        let variant = Variant {
            change: Change::Text,
            score: score("voices", 2),
        };
        let report = Report::new(Vec::new(), sets, vec![variant]).unwrap();
        let figures = report.figures(&Model::nano()).unwrap();
        let shown = figures.iter().map(|it| (it.name.as_str(), it.measured()));
        let expected = [
            ("nano_exact_voices", "0.750"),
            ("nano_wer_voices", "0.750"),
            ("nano_q8_difference", "25 points"),
        ];
        assert_eq!(
            shown.collect::<Vec<_>>(),
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn a_file_is_known_by_its_sha_256() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gguf");
        std::fs::write(&path, "abc").unwrap();
        let file = File::read(&path).unwrap();
        assert_eq!((file.name.as_str(), file.bytes), ("a.gguf", 3));
        // The example of FIPS 180-2.
        assert!(file.sha256.starts_with("ba7816bf8f01cfea414140de5dae2223"));
    }
}
