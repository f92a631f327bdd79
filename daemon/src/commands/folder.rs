//! All command files of a machine, as one catalogue.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::LONGEST_FILE;
use super::written::{MOST_COMMANDS, Source};
use super::{Catalogue, CatalogueError, Name, trust};
use crate::platform::file::{FileProblem, Regular, shown};

/// Longest catalogue, in bytes of all its files. The shipped files together have 24,000. A listing that goes into one
/// message can be five times as long as the parts of the files it repeats.
const LONGEST: usize = 128 * 1024;

/// Most files of a folder.
const MOST_FILES: usize = 256;

impl Catalogue {
    /// Reads all `*.toml` files of `folders`, in the order of their names within a folder. Takes a while, because the
    /// grammar of the whole catalogue is compiled as a check.
    ///
    /// # Errors
    /// When a folder or a file cannot be read, is writable by other users or is not valid, when two commands have the
    /// same name, or when there are too many commands or none.
    pub fn load(folders: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut sources = Vec::new();
        let mut bytes = 0;
        for folder in folders {
            for path in files(folder)? {
                let source = read(&path)?;
                bytes += source.text().len();
                if bytes > LONGEST {
                    return Err(too_many(
                        folders,
                        format!("their files have more than {LONGEST} bytes"),
                    ));
                }
                sources.push(source);
            }
        }
        let all = merge(&sources)?;
        match all.commands.len() {
            0 => Err(CatalogueError::Empty {
                folders: named(folders),
            }),
            count if count > MOST_COMMANDS => Err(too_many(
                folders,
                format!("there are {count}, but at most {MOST_COMMANDS} may be"),
            )),
            _ => {
                all.check_grammar(&sources, || named(folders))?;
                for doubt in sources.iter().flat_map(Source::doubts) {
                    log::warn!("{doubt}");
                }
                Ok(all)
            }
        }
    }
}

fn merge(sources: &[Source]) -> Result<Catalogue, CatalogueError> {
    let mut all = Catalogue::default();
    let mut seen: BTreeMap<Name, &Path> = BTreeMap::new();
    for source in sources {
        for (name, command) in source.catalogue()?.commands {
            if let Some(other) = seen.insert(name.clone(), source.path()) {
                return Err(CatalogueError::Twice {
                    path: source.path().into(),
                    other: other.into(),
                    name: name.to_string(),
                });
            }
            all.commands.insert(name, command);
        }
    }
    Ok(all)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let unreadable = |error: std::io::Error| FileProblem::Unreadable {
        path: folder.into(),
        why: error.to_string(),
    };
    trusted(folder, &fs::metadata(folder).map_err(unreadable)?)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            let folder = [folder.to_path_buf()];
            return Err(too_many(
                &folder,
                format!("it has more than {MOST_FILES} files"),
            ));
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Source, CatalogueError> {
    // The opened file is checked and read, so replacing the path in between changes nothing.
    let file = Regular::open(path)?;
    trusted(path, file.metadata())?;
    Source::new(path, file.text(LONGEST_FILE)?)
}

/// Checks that only root and the daemon's user can write the file at `path` and its folder. Passes if the path is
/// relative, or the file cannot be read or has another text: only a caller that knows the text learns of its owner.
///
/// # Errors
/// [`CatalogueError::Untrusted`].
pub(super) fn check_trust(path: &Path, text: &str) -> Result<(), CatalogueError> {
    if !path.is_absolute() {
        return Ok(());
    }
    let Ok(file) = Regular::open(path) else {
        return Ok(());
    };
    let found = file.metadata().clone();
    if file.text(LONGEST_FILE).is_ok_and(|it| it == text) {
        trusted(path, &found)?;
        if let Some(folder) = path.parent()
            && let Ok(found) = fs::metadata(folder)
        {
            trusted(folder, &found)?;
        }
    }
    Ok(())
}

fn trusted(path: &Path, found: &fs::Metadata) -> Result<(), CatalogueError> {
    trust::check(found).map_err(|why| CatalogueError::Untrusted {
        path: path.into(),
        why,
    })
}

fn too_many(folders: &[PathBuf], why: String) -> CatalogueError {
    CatalogueError::TooMany {
        folders: named(folders),
        why,
    }
}

fn named(folders: &[PathBuf]) -> String {
    let folders: Vec<_> = folders.iter().map(|it| shown(it)).collect();
    folders.join(", ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn command(name: &str) -> String {
        format!("[commands.{name}]\ndescription = \"Does {name}.\"\n")
    }

    #[test]
    fn the_files_of_all_folders_are_one_catalogue() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let paths = folders.each_ref().map(|folder| folder.path().to_owned());
        let none = Catalogue::load(&paths).unwrap_err();
        assert!(matches!(none, CatalogueError::Empty { .. }), "{none}");

        fs::write(paths[0].join("b.toml"), command("one")).unwrap();
        fs::write(paths[1].join("a.toml"), command("two")).unwrap();
        fs::write(paths[1].join("notes.txt"), "not ours").unwrap();
        let both = Catalogue::load(&paths).unwrap();
        assert_eq!(both.commands.len(), 2);

        fs::write(paths[1].join("c.toml"), command("one")).unwrap();
        let twice = Catalogue::load(&paths).unwrap_err().to_string();
        assert!(
            twice.contains("c.toml: there is a command one in"),
            "{twice}"
        );
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(paths[0].join("b.toml"), everybody).unwrap();
        let writable = Catalogue::load(&paths).unwrap_err().to_string();
        assert!(
            writable.contains("b.toml: everybody may write it"),
            "{writable}"
        );
        let missing = Catalogue::load(&["/nonexistent".into()])
            .unwrap_err()
            .to_string();
        assert!(missing.contains("/nonexistent: No such file"), "{missing}");
    }
}
