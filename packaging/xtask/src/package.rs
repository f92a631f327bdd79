//! Makes the Debian package: release builds, their documentation, and cargo-deb over both.
//!
//! `daemon/Cargo.toml` lists the files of the package and their places under `[package.metadata.deb]`. Files
//! that have to be made first go into `target/package`.

mod changelog;
mod kernels;
pub mod libraries;
mod manual;
mod notices;
mod reference;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    architecture::Architecture,
    command::{cargo, execute, output, root},
    say, setup,
};

/// The package to make.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wanted {
    /// Architecture of the package; by default this machine's.
    #[arg(long, value_name = "ARCHITECTURE")]
    arch: Option<Architecture>,
    /// Make it for the GPU of the Jetson on which this runs.
    #[arg(long, conflicts_with = "arch")]
    jetson: bool,
    /// Version of the package instead of the one in Cargo.toml.
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
}

impl Wanted {
    /// A package for this architecture.
    #[must_use]
    pub fn of(arch: Architecture) -> Self {
        Self {
            arch: Some(arch),
            ..Self::default()
        }
    }

    /// Sets a version instead of the one in Cargo.toml.
    #[must_use]
    pub fn with_version(self, version: &str) -> Self {
        Self {
            deb_version: Some(version.into()),
            ..self
        }
    }

    fn arch(&self) -> Result<Architecture> {
        self.arch.map_or_else(Architecture::here, Ok)
    }

    /// Arguments of cargo and cargo-deb for another architecture than this machine's.
    fn target(&self) -> Result<Option<[&'static str; 2]>> {
        let arch = self.arch()?;
        let is_foreign = arch != Architecture::here()?;
        Ok(is_foreign.then(|| ["--target", arch.rust()]))
    }
}

/// Makes the package; returns its path.
pub fn run(wanted: &Wanted) -> Result<PathBuf> {
    setup::packaging()?;
    let cargo_deb = setup::cargo_deb()?;
    let arch = wanted.arch()?;
    if arch != Architecture::here()? {
        setup::crossing(arch)?;
    }
    say::step("Building gemmad and gemmactl for release (the first time about 20 minutes)");
    let llama_cpp = build(wanted)?;
    say::step("Writing manual pages, completions, the changelog and third parties' notices");
    describe(wanted)?;
    libraries::copy(&llama_cpp, &folder().join("lib"), arch)?;
    say::step("Counting the instructions of the CPU backends that multiply 8-bit numbers");
    kernels::check(arch, &folder().join("lib"))?;
    say::step("Making the package");
    let package = pack(&cargo_deb, wanted)?;
    let size = fs::metadata(&package)?.len();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let megabytes = size as f64 / 1e6;
    say::success(&format!("{} ({megabytes:.1} MB)", package.display()));
    Ok(package)
}

/// Builds the programs; returns the folder with the built llama.cpp.
fn build(wanted: &Wanted) -> Result<PathBuf> {
    let mut build = cargo(["build", "--release", "--bins", "--features"]);
    if wanted.jetson {
        build.arg("gemmad/portable,gemmad/cuda");
        // The GPU of an Orin. By default llama.cpp compiles for all others but not for this one, which would then
        // translate the code of another at the first run.
        build.env("CMAKE_CUDA_ARCHITECTURES", "87-real");
    } else {
        build.arg("gemmad/portable");
    }
    let mut folder = root().join("target");
    if let Some(target) = wanted.target()? {
        for package in ["gemmad", "gemmad-supervise", "gemmactl"] {
            build.args(["--package", package]);
        }
        build.args(target);
        folder.push(target[1]);
    } else {
        // The same as for the benchmarks, so that both share their builds.
        build.arg("--workspace");
    }
    libraries::build(build, &folder)
}

/// Folder of the files that are made for the package.
fn folder() -> PathBuf {
    root().join("target/package")
}

/// Writes the files of the package that are not in the repository.
fn describe(wanted: &Wanted) -> Result<()> {
    let folder = folder();
    // No file of another version may stay.
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let facts = Facts::read()?;
    let documentation = [
        "run",
        "--quiet",
        "--package",
        "gemmactl",
        "--example",
        "documentation",
    ];
    execute(cargo(documentation).arg(&folder))?;
    manual::write(&folder.join("man"), &facts.version)?;
    let version = facts.deb_version(wanted);
    changelog::write(&folder.join("changelog"), &version, &facts.maintainer)?;
    notices::write(&folder.join("third-party.txt"), wanted.arch()?)
}

fn pack(cargo_deb: &Path, wanted: &Wanted) -> Result<PathBuf> {
    let mut pack = Command::new(cargo_deb);
    pack.current_dir(root())
        .args(["--package", "gemmad", "--no-build", "--quiet"])
        .env("PATH", libraries::path_that_knows(&folder().join("lib"))?);
    pack.args(wanted.target()?.into_iter().flatten());
    if wanted.jetson {
        pack.args(["--variant", "jetson"]);
    }
    if let Some(version) = &wanted.deb_version {
        pack.args(["--deb-version", version]);
    }
    // The last line that cargo-deb prints is the path of the package.
    let printed = output(&mut pack)?;
    let path = PathBuf::from(printed.lines().last().unwrap_or_default());
    ensure!(
        path.is_file(),
        "cargo-deb said `{}`, which is no package; run it by hand to see why",
        printed.trim_end()
    );
    Ok(path)
}

/// Facts about the package, from `daemon/Cargo.toml`.
struct Facts {
    version: String,
    maintainer: String,
}

impl Facts {
    fn read() -> Result<Self> {
        let metadata = ["metadata", "--format-version", "1", "--no-deps"];
        let metadata: serde_json::Value = serde_json::from_str(&output(&mut cargo(metadata))?)?;
        let packages = metadata["packages"].as_array();
        let mut packages = packages.into_iter().flatten();
        let gemmad = packages.find(|package| package["name"] == "gemmad");
        let gemmad = gemmad.context("the workspace has no package gemmad")?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            version: text(&gemmad["version"]),
            maintainer: text(&gemmad["metadata"]["deb"]["maintainer"]),
        })
    }

    /// The version in Debian's form, with a revision, as cargo-deb also makes it.
    fn deb_version(&self, wanted: &Wanted) -> String {
        let revision = if wanted.jetson { "1+jetson" } else { "1" };
        let version = wanted.deb_version.clone();
        version.unwrap_or_else(|| format!("{}-{revision}", self.version))
    }
}
