//! `gemmad.toml(5)`, from `configs/gemmad.toml`: that file has every key with its default, and its meaning
//! in a comment above, so that the documentation is written only once.

use roff::{Roff, bold, roman};

/// The manual page for the configuration that `text` documents.
pub fn page(text: &str, version: &str) -> String {
    let reference = Reference::read(text);
    let mut page = Roff::new();
    let source = format!("gemmad {version}");
    page.control("TH", ["gemmad.toml", "5", "", &source, "File formats"]);
    page.control("SH", ["NAME"]);
    page.text([roman("gemmad.toml - configuration of gemmad")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("The configuration is a file in TOML, usually "),
        bold("/etc/gemmad/gemmad.toml"),
        roman("."),
    ]);
    for paragraph in &reference.head {
        page.control("PP", []);
        page.text([roman(paragraph.as_str())]);
    }
    for section in &reference.sections {
        page.control("SH", [format!("[{}]", section.name).as_str()]);
        for entry in &section.entries {
            entry.write(&mut page);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("gemmad"),
        roman("(8), "),
        bold("gemmactl"),
        roman("(1)"),
    ]);
    page.render()
}

/// The contents of the file.
#[derive(Default)]
struct Reference {
    /// The paragraphs before the first section.
    head: Vec<String>,
    sections: Vec<Section>,
}

struct Section {
    name: String,
    entries: Vec<Entry>,
}

/// Keys with a common explanation.
struct Entry {
    /// The keys, each with its default.
    keys: Vec<String>,
    text: String,
}

impl Entry {
    fn write(&self, page: &mut Roff) {
        for (place, key) in self.keys.iter().enumerate() {
            page.control(if place == 0 { "TP" } else { "TQ" }, []);
            page.text([bold(key.as_str())]);
        }
        page.text([roman(self.text.as_str())]);
    }
}

impl Reference {
    fn read(text: &str) -> Self {
        let mut reference = Self::default();
        let mut comment = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(words) = line.strip_prefix('#') {
                comment.push(words.trim());
            } else if let Some(name) = line.strip_prefix('[') {
                reference.sections.push(Section {
                    name: name.trim_end_matches(']').into(),
                    entries: Vec::new(),
                });
            } else if let Some((key, value)) = line.split_once(" = ") {
                let value = if value == MANY_LINES {
                    lines.by_ref().find(|line| line.ends_with(MANY_LINES));
                    "\"…\""
                } else {
                    value
                };
                reference.key(format!("{key} = {value}"), &mut comment);
            } else if line.is_empty() && reference.sections.is_empty() {
                reference.head.extend(paragraphs(&comment));
                comment.clear();
            }
        }
        reference
    }

    /// Adds a key; without a comment of its own it belongs to the key above it.
    fn key(&mut self, key: String, comment: &mut Vec<&str>) {
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        match section.entries.last_mut() {
            Some(entry) if comment.is_empty() => entry.keys.push(key),
            _ => section.entries.push(Entry {
                keys: vec![key],
                text: comment.join(" "),
            }),
        }
        comment.clear();
    }
}

/// Delimiter of a string of several lines.
const MANY_LINES: &str = "\"\"\"";

/// The paragraphs of a comment: lines joined, separated at empty lines.
fn paragraphs(comment: &[&str]) -> Vec<String> {
    comment
        .split(|line| line.is_empty())
        .map(|lines| lines.join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Every key.
#
# After a change, reload.

[engine]
# Threads that compute.
threads = 0
# Sampling: both
# of them.
temperature = 1.0
top_k = 64

[transcribe]
# What is asked.
prompt = """
One = 1
two"""
language = "English"
"#;

    #[test]
    fn every_key_is_there_with_its_default_and_its_words() {
        let reference = Reference::read(TEXT);
        assert_eq!(reference.head, ["Every key.", "After a change, reload."]);
        let [engine, transcribe] = &reference.sections[..] else {
            panic!("{} sections", reference.sections.len());
        };
        assert_eq!(engine.name, "engine");
        assert_eq!(engine.entries[1].keys, ["temperature = 1.0", "top_k = 64"]);
        assert_eq!(engine.entries[1].text, "Sampling: both of them.");
        let keys = ["prompt = \"…\"", "language = \"English\""];
        assert_eq!(transcribe.entries[0].keys, keys);
    }

    #[test]
    fn the_page_has_a_heading_for_each_section_of_the_shipped_file() {
        let path = crate::command::root().join("configs/gemmad.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let page = page(&text, "1.2.3");
        for section in ["model", "engine", "answer", "transcribe", "voice", "log"] {
            assert!(page.contains(&format!(".SH [{section}]\n")), "{section}");
        }
        assert!(page.contains(r"\fBmax_tokens = 512\fR"), "{page}");
    }
}
