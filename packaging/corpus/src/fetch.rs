//! Packages, downloaded by name and unpacked. Nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use xtask::{command::execute, say};

/// Where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// The archive that this machine's apt uses.
    #[default]
    Debian,
    /// The Python Package Index; only wheels.
    Pypi,
    /// The registry of npm.
    Npm,
}

impl Registry {
    /// The folder of its packages.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Pypi => "pypi",
            Self::Npm => "npm",
        }
    }
}

/// The folder of an unpacked package, relative to the corpus. `package` is a name, with `@VERSION` outside Debian.
pub fn folder(registry: Registry, package: &str) -> PathBuf {
    Path::new(registry.folder()).join(package.replace('/', "+"))
}

/// Downloads and unpacks a package, unless that has been done.
pub fn unpack(store: &Path, registry: Registry, package: &str) -> Result<()> {
    let folder = store.join(folder(registry, package));
    if folder.exists() {
        return Ok(());
    }
    say::step(&format!("Downloading {package}"));
    let downloads = store.join("downloads").join(registry.folder());
    // What a run that was interrupted has left.
    let partial = folder.with_added_extension("partial");
    for left in [&downloads, &partial] {
        if left.exists() {
            fs::remove_dir_all(left)?;
        }
        fs::create_dir_all(left)?;
    }
    execute(download(registry, package).current_dir(&downloads))?;
    let archive = only_file(&downloads)?;
    execute(&mut extract(registry, &archive, &partial))?;
    fs::rename(&partial, &folder)?;
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// The program that downloads a package to its working folder.
fn download(registry: Registry, package: &str) -> Command {
    let (program, arguments): (_, &[&str]) = match registry {
        // Root downloads as itself, because the user `_apt` may not write here.
        Registry::Debian => (
            "apt-get",
            &["-qq", "-o", "APT::Sandbox::User=root", "download"],
        ),
        // A source distribution would run its build just to be downloaded.
        Registry::Pypi => (
            "pip",
            &["download", "--quiet", "--no-deps", "--only-binary=:all:"],
        ),
        Registry::Npm => ("npm", &["pack", "--silent"]),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    match registry {
        Registry::Pypi => command.arg(package.replace('@', "==")),
        Registry::Debian | Registry::Npm => command.arg(package),
    };
    command
}

/// The program that extracts an archive into a folder.
fn extract(registry: Registry, archive: &Path, folder: &Path) -> Command {
    let (program, arguments): (_, &[&str]) = match registry {
        Registry::Debian => ("dpkg-deb", &["--extract"]),
        Registry::Pypi => ("python3", &["-m", "zipfile", "--extract"]),
        Registry::Npm => ("tar", &["--extract", "--file"]),
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(archive);
    if registry == Registry::Npm {
        command.arg("--directory");
    }
    command.arg(folder);
    command
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    ensure!(files.len() <= 1, "more than one file was downloaded");
    files.into_iter().next().context("nothing was downloaded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_unpacked_is_not_downloaded_again() {
        let store = tempfile::tempdir().unwrap();
        fs::create_dir_all(store.path().join("debian/no-such-package")).unwrap();
        unpack(store.path(), Registry::Debian, "no-such-package").unwrap();
        assert!(!store.path().join("downloads").exists());
    }

    #[test]
    fn a_package_of_a_scope_has_a_folder_of_one_name() {
        assert_eq!(
            folder(Registry::Npm, "@scope/name@1.0.0"),
            Path::new("npm/@scope+name@1.0.0")
        );
    }

    #[test]
    fn one_file_is_expected_of_a_download() {
        let folder = tempfile::tempdir().unwrap();
        assert!(only_file(folder.path()).is_err());
        fs::write(folder.path().join("a.deb"), "").unwrap();
        assert_eq!(
            only_file(folder.path()).unwrap(),
            folder.path().join("a.deb")
        );
        fs::write(folder.path().join("b.deb"), "").unwrap();
        assert!(only_file(folder.path()).is_err());
    }
}
