//! The notices of all code of others in the programs, as its licences demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    architecture::Architecture,
    command::{cargo, output},
};

/// The programs whose crates are listed.
const PROGRAMS: [&str; 3] = ["gemmad", "gemmad-supervise", "gemmactl"];

/// Writes the notices for the programs on this architecture.
pub fn write(file: &Path, arch: Architecture) -> Result<()> {
    let mut metadata = cargo(["metadata", "--format-version", "1", "--filter-platform"]);
    metadata.arg(arch.rust());
    let metadata: Value = serde_json::from_str(&output(&mut metadata)?)?;
    let text = text(&crates(&metadata));
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A crate that is part of a program.
struct Crate {
    /// Name and version, separated by a space.
    name: String,
    licence: String,
    folder: PathBuf,
}

/// The crates of others that are compiled into the programs.
fn crates(metadata: &Value) -> Vec<Crate> {
    let parts = parts(metadata);
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let packages = packages.filter(|package| {
        // Crates of this repository have no `source`.
        !package["source"].is_null() && parts.contains(word(&package["id"]))
    });
    let mut crates: Vec<_> = packages
        .map(|package| Crate {
            name: format!("{} {}", word(&package["name"]), word(&package["version"])),
            licence: word(&package["license"]).into(),
            folder: Path::new(word(&package["manifest_path"]))
                .with_file_name("")
                .clone(),
        })
        .collect();
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    crates
}

/// Ids of the crates that the programs depend on, without dependencies for building and tests only.
fn parts(metadata: &Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array();
    let nodes: BTreeMap<&str, &Value> = nodes
        .into_iter()
        .flatten()
        .map(|node| (word(&node["id"]), node))
        .collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let programs = packages.filter(|package| PROGRAMS.contains(&word(&package["name"])));
    let mut waiting: Vec<&str> = programs.map(|package| word(&package["id"])).collect();
    let mut parts = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !parts.insert(id) {
            continue;
        }
        let uses = nodes.get(id).and_then(|node| node["deps"].as_array());
        let uses = uses.into_iter().flatten().filter(|part| {
            let kinds = part["dep_kinds"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        });
        waiting.extend(uses.map(|part| word(&part["pkg"])));
    }
    parts
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Each notice once, below the names of its crates.
fn text(crates: &[Crate]) -> String {
    let mut notices: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut text = String::from(
        "gemmad and gemmactl contain these libraries. Their notices follow the list.\n\n",
    );
    for part in crates {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {}", part.name, part.licence);
        for notice in notices_in(&part.folder) {
            notices.entry(notice).or_default().push(&part.name);
        }
    }
    for (notice, names) in notices {
        let line = "-".repeat(78);
        let _ = writeln!(text, "\n{line}\n{}:\n\n{}", names.join(", "), notice.trim());
    }
    text
}

/// The notices in a crate's folder, and in its folder `llama.cpp`, which one crate has.
fn notices_in(folder: &Path) -> Vec<String> {
    let mut notices = Vec::new();
    for folder in [folder.to_owned(), folder.join("llama.cpp")] {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = files.map(|file| file.path()).collect();
        files.sort();
        let files = files.iter().filter(|file| is_notice(file));
        notices.extend(files.filter_map(|file| fs::read_to_string(file).ok()));
    }
    notices
}

fn is_notice(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_uppercase();
    [
        "LICENSE",
        "LICENCE",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "UNLICENSE",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compiled_into_a_program_is_part_of_it() {
        let part =
            |id: &str, kind: Value| serde_json::json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = serde_json::json!({
            "packages": [{"name": "gemmad", "id": "g"}, {"name": "gemmactl", "id": "c"}],
            "resolve": {"nodes": [
                {"id": "g", "deps": [part("a", Value::Null), part("b", "build".into())]},
                {"id": "c", "deps": [part("t", "dev".into())]},
                {"id": "a", "deps": [part("deep", Value::Null)]},
                {"id": "b", "deps": [part("cc", Value::Null)]},
            ]},
        });
        assert_eq!(parts(&metadata), BTreeSet::from(["a", "c", "deep", "g"]));
    }

    #[test]
    fn llama_cpp_is_among_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), Architecture::here().unwrap()).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("\nllama-cpp-sys-2 "), "{text}");
        assert!(
            text.contains("The ggml authors"),
            "llama.cpp's own notice is missing"
        );
        assert!(!text.contains("\nbindgen "));
    }
}
