//! Named figures, kept as JSON and shown as a page.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use gemmad_testbed::Model;
use serde::{Deserialize, Serialize};
use xtask::{command::root, say};

/// A measured number, and its circumstances.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// Unique name, such as `prefill_ratio`.
    pub name: String,
    /// Its meaning, in one sentence.
    pub meaning: String,
    /// Median of the samples.
    pub value: f64,
    /// Unit; empty for a ratio.
    pub unit: String,
    /// Its goal, if one is agreed.
    pub goal: Option<String>,
    /// The measurements, in order.
    pub samples: Vec<f64>,
    /// Name and size of the text model's file.
    pub model: String,
    /// Processor, cores and memory.
    pub machine: String,
    /// Share of the machine that other work took before or after the measurement, in percent.
    pub other_work: f64,
    /// The measured commit, with `+` if there were uncommitted changes.
    pub commit: String,
}

impl Figure {
    /// A figure of `model`, measured now on this machine.
    pub fn new(name: &str, unit: &str, samples: Vec<f64>, model: &Model) -> Result<Self> {
        let size = std::fs::metadata(&model.text)?.len();
        let file = model.text.file_name().unwrap_or_default().to_string_lossy();
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let megabytes = size as f64 / 1e6;
        Ok(Self {
            name: name.into(),
            meaning: String::new(),
            value: median(&samples),
            unit: unit.into(),
            goal: None,
            samples,
            model: format!("{file} ({megabytes:.1} MB)"),
            machine: machine()?,
            other_work: 0.0,
            commit: commit()?,
        })
    }

    /// Sets the meaning.
    pub fn meaning(mut self, meaning: &str) -> Self {
        self.meaning = meaning.into();
        self
    }

    /// Sets the goal.
    pub fn goal(mut self, goal: &str) -> Self {
        self.goal = Some(goal.into());
        self
    }

    /// Sets the share of other work, in percent.
    pub fn other_work(mut self, percent: f64) -> Self {
        self.other_work = percent;
        self
    }

    /// The value with its unit.
    pub fn measured(&self) -> String {
        self.format(self.value)
    }

    /// The value, the range of the samples, and the goal.
    fn summary(&self) -> String {
        let (least, most) = self.range();
        let [least, most] = [least, most].map(|number| self.format(number));
        let range = (self.samples.len() > 1).then(|| format!(" ({least} to {most})"));
        let goal = self.goal.as_ref().map(|goal| format!("; goal {goal}"));
        [Some(self.measured()), range, goal]
            .into_iter()
            .flatten()
            .collect()
    }

    /// A line of the page's table.
    fn row(&self) -> String {
        let (least, most) = self.range();
        let [value, least, most] = [self.value, least, most].map(|number| self.format(number));
        let goal = self.goal.as_deref().unwrap_or("-");
        let Self {
            name,
            samples,
            model,
            machine,
            other_work,
            commit,
            ..
        } = self;
        let count = samples.len();
        format!(
            "| `{name}` | {value} | {least} to {most} | {goal} | {count} | {model} | {machine} | {other_work:.0} % | {commit} |\n"
        )
    }

    fn range(&self) -> (f64, f64) {
        let fold = |pick: fn(f64, f64) -> f64| self.samples.iter().copied().reduce(pick);
        let or_value = |bound: Option<f64>| bound.unwrap_or(self.value);
        (or_value(fold(f64::min)), or_value(fold(f64::max)))
    }

    fn format(&self, number: f64) -> String {
        match self.unit.as_str() {
            "" => format!("{number:.3}"),
            unit if number < 10.0 => format!("{number:.2} {unit}"),
            unit => format!("{number:.0} {unit}"),
        }
    }
}

/// Shows the figures to the user.
pub fn show(figures: &[Figure]) {
    let rows = figures.iter().map(|it| (it.name.clone(), it.summary()));
    say::results(&rows.collect::<Vec<_>>());
}

/// All figures, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    figures: Vec<Figure>,
}

impl Figures {
    /// The figures in `path`; none if the file does not exist yet.
    pub fn load(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path)?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} does not hold figures; name another file",
                path.display()
            )
        })
    }

    /// Adds `figure`, or replaces an older one with its name.
    pub fn put(&mut self, figure: Figure) {
        match self.figures.iter_mut().find(|old| old.name == figure.name) {
            Some(old) => *old = figure,
            None => self.figures.push(figure),
        }
    }

    /// Writes them to `path`.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    /// The page for people.
    pub fn page(&self) -> String {
        let rows: String = self.figures.iter().map(Figure::row).collect();
        let meanings = self.figures.iter().map(|it| (&it.name, &it.meaning));
        let meanings: Vec<_> = meanings
            .map(|(name, meaning)| format!("- `{name}`: {meaning}"))
            .collect();
        let meanings = meanings.join("\n");
        format!(
            "{PREFACE}\n\
             | figure | median | lowest to highest | goal | samples | model | machine | other work | commit |\n\
             |---|---|---|---|---|---|---|---|---|\n\
             {rows}\n## What they mean\n\n{meanings}\n"
        )
    }
}

const PREFACE: &str = "# Performance

Written by `cargo xtask bench`; do not edit. A `+` behind a commit means that there were changes on top
of it.

Plain llama.cpp is the same build of llama.cpp, driven by `daemon/examples/llama_cpp.rs` with
llama.cpp's own defaults and as many threads as gemmad takes, on the same file, in the same run, in
turns with gemmad. gemmad is asked over the bus and timed by the client. The file `e2b-q4_0.gguf` stands
in for Gemma 4 E2B: it has its shape and storage and random weights (`cargo xtask shape`), so its answers
are noise.

Other work on the machine moves every figure, ratios too. The column says how much of the processor it
took just before or just after: above 10 % a time says little. Shares of right and wrong answers stay the same.
";

fn machine() -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    // A board names itself; a PC names its processor.
    let name = std::fs::read_to_string("/proc/device-tree/model")
        .ok()
        .map(|model| model.trim_end_matches('\0').to_owned())
        .or_else(|| field("model name"))
        .unwrap_or_else(|| std::env::consts::ARCH.into());
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes = memory.split_whitespace().nth(1).context("no memory size")?;
    let gigabytes = kilobytes.parse::<u64>()?.div_ceil(1 << 20);
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{name}, {cores} cores, {gigabytes} GiB"))
}

/// The commit that is checked out, with `+` if there are uncommitted changes.
pub fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(root())
            .output()?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    // These are rewritten by every run.
    let written = [
        ":!docs/figures.json",
        ":!docs/performance.md",
        ":!models/nano/README.md",
    ];
    let changes = git(&[&["status", "--porcelain", "--"], &written[..]].concat())?;
    Ok(if changes.is_empty() {
        commit
    } else {
        commit + "+"
    })
}

/// The median of the samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(samples: &[f64]) -> Figure {
        Figure::new("ask_overhead_ms", "ms", samples.to_vec(), &Model::nano()).unwrap()
    }

    #[test]
    fn a_figure_is_the_median_of_its_samples() {
        assert!((figure(&[9.0, 1.0, 2.0]).value - 2.0).abs() < f64::EPSILON);
        assert!((figure(&[9.0, 1.0, 2.0, 3.0]).value - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_figure_measured_again_replaces_the_old_one_in_the_file_and_on_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        for samples in [[1.0], [2.5]] {
            let mut figures = Figures::load(&path).unwrap();
            figures.put(figure(&samples).goal("≤ 5 ms"));
            figures.save(&path).unwrap();
        }
        let page = Figures::load(&path).unwrap().page();
        let row = "| `ask_overhead_ms` | 2.50 ms | 2.50 ms to 2.50 ms | ≤ 5 ms | 1 | nano-f16.gguf";
        assert!(page.contains(row), "{page}");
        assert!(!page.contains("1.00 ms"), "{page}");
    }
}
