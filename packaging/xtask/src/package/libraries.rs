//! The shared libraries of llama.cpp for a portable build, with a CPU backend for each generation of
//! processors.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    architecture::Architecture,
    command::{execute, output},
};

/// Runs `build`, a portable release build by cargo into the folder `target`; returns the folder with the built
/// llama.cpp.
pub fn build(mut build: Command, target: &Path) -> Result<PathBuf> {
    for folder in ["release", "release/deps", "release/examples"] {
        clear(&target.join(folder))?;
    }
    build.args(["--message-format", "json-render-diagnostics"]);
    built_in(&output(&mut build)?)
}

/// Removes dangling links to libraries. An earlier build leaves them there, and the build script of llama-cpp-sys-2
/// 0.1.161 (`build.rs:1552`) fails to make them anew when it runs again.
fn clear(folder: &Path) -> Result<()> {
    // Before the first build the folder does not exist.
    for file in fs::read_dir(folder).into_iter().flatten() {
        let path = file?.path();
        if path.is_symlink() && !path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The folder with the built llama.cpp, from cargo's JSON lines about the build.
fn built_in(messages: &str) -> Result<PathBuf> {
    let messages = messages.lines().rev();
    let mut messages = messages.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let message = messages.find(|message| {
        let package = message["package_id"].as_str().unwrap_or_default();
        message["reason"] == "build-script-executed" && package.contains("llama-cpp-sys-2")
    });
    let message = message.context("cargo did not say where it has built llama.cpp")?;
    Ok(message["out_dir"].as_str().unwrap_or_default().into())
}

/// Copies the libraries that are loaded from `built` to `folder`, without debugging symbols.
pub fn copy(built: &Path, folder: &Path, arch: Architecture) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut copies = Vec::new();
    for part in ["lib", "backends"] {
        let part = built.join(part);
        let files = fs::read_dir(&part)
            .with_context(|| format!("cannot read {}", part.display()))?
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        for name in loaded(&files) {
            let copy = folder.join(name);
            fs::copy(part.join(name), &copy)?;
            copies.push(copy);
        }
    }
    ensure!(
        copies
            .iter()
            .any(|copy| name(copy).starts_with("libggml-cpu")),
        "there is no CPU backend in {}; is the feature `portable` on?",
        built.display()
    );
    let mut strip = Command::new(arch.tool("strip"));
    execute(strip.arg("--strip-unneeded").args(&copies))
}

/// A `PATH` with a wrapper of dpkg-shlibdeps, which cargo-deb runs, so that it finds the copies in `folder`:
/// they are part of the package itself, and of no other. cargo-deb has no option for that.
pub fn path_that_knows(folder: &Path) -> Result<OsString> {
    let programs = folder.with_file_name("bin");
    fs::create_dir_all(&programs)?;
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/dpkg-shlibdeps --ignore-missing-info -l'{}' \"$@\"\n",
        folder.display()
    );
    let program = programs.join("dpkg-shlibdeps");
    fs::write(&program, script)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(programs).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

/// Libraries left out of the package: one that only llama.cpp's own programs use; the kernels for AMX, which
/// GCC 12 compiles to code that crashes (it never stores the tiles' configuration), so that such processors
/// use those of the generation before; and those for SME, of which ggml has none (`packaging/kernels.cmake`).
const UNUSED: [&str; 4] = [
    "libllama-common",
    "libggml-cpu-sapphirerapids",
    "libggml-cpu-armv9.2_1",
    "libggml-cpu-armv9.2_2",
];

/// The names, of all names of libraries, under which programs load them: `libllama.so.0`, which also has a
/// shorter name for linking and a longer one for the file; or the only name of a backend.
fn loaded(names: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    let asked = |name: &&String| match name.split_once(".so") {
        Some((stem, _)) if UNUSED.contains(&stem) => false,
        Some((_, "")) => !names
            .iter()
            .any(|other| other.starts_with(&format!("{name}."))),
        Some((_, version)) => !version.trim_start_matches('.').contains('.'),
        None => false,
    };
    names.iter().filter(asked).map(String::as_str)
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_loaded_are_those_with_one_number_or_the_only_one() {
        let names = [
            "cmake",
            "libggml-cpu-haswell.so",
            "libllama-common.so.0",
            "libllama.so",
            "libllama.so.0",
            "libllama.so.0.0.1",
        ];
        let names = names.map(ToOwned::to_owned).into();
        let loaded: Vec<_> = loaded(&names).collect();
        assert_eq!(loaded, ["libggml-cpu-haswell.so", "libllama.so.0"]);
    }

    #[test]
    fn the_last_build_of_llama_cpp_counts() {
        let line = |out: &str| {
            format!(
                r#"{{"reason":"build-script-executed","package_id":"registry+x#llama-cpp-sys-2@1","out_dir":"{out}"}}"#
            )
        };
        let messages = format!("{}\n{{}}\n{}\n", line("/first"), line("/second"));
        assert_eq!(built_in(&messages).unwrap(), Path::new("/second"));
    }
}
