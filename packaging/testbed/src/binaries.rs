//! The built programs.

use std::path::{Path, PathBuf};

use crate::Error;

/// The folder of the built programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The programs of the running program's own build, in `target/PROFILE`.
    ///
    /// # Errors
    /// When they are not built.
    pub fn of_this_build() -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(Error::file(Path::new("this program")))?;
        program
            .ancestors()
            .skip(1)
            .find(|folder| folder.join("gemmad").is_file())
            .map(|folder| Self {
                folder: folder.into(),
            })
            .ok_or_else(|| Error::NotBuilt("gemmad".into()))
    }

    /// The programs in `folder`.
    ///
    /// # Errors
    /// There is no `gemmad` in it.
    pub fn in_folder(folder: &Path) -> Result<Self, Error> {
        let binaries = Self {
            folder: folder.into(),
        };
        binaries.path("gemmad").map(|_| binaries)
    }

    /// The path of a program.
    ///
    /// # Errors
    /// When it is not built.
    pub fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(Error::NotBuilt(path.display().to_string()))
        }
    }
}
