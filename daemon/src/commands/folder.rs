//! All files of a machine, as one catalogue.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Catalogue, CatalogueError, Name, trust};

/// Longest file, in bytes. The shipped ones have a few thousand.
const LONGEST_FILE: u64 = 1 << 20;

impl Catalogue {
    /// Reads all `*.toml` files of `folders`, in the order of their names within a folder.
    ///
    /// # Errors
    /// When a folder or a file cannot be read, is not to be trusted or does not fit, when two commands have the same
    /// name, or when there is no command at all.
    pub fn load(folders: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut all = Self::default();
        let mut seen: BTreeMap<Name, PathBuf> = BTreeMap::new();
        for folder in folders {
            for path in files(folder)? {
                let Self { commands } = Self::parse(&path, &text(&path)?)?;
                for (name, command) in commands {
                    if let Some(other) = seen.insert(name.clone(), path.clone()) {
                        return Err(CatalogueError::Twice {
                            path,
                            other,
                            name: name.to_string(),
                        });
                    }
                    all.commands.insert(name, command);
                }
            }
        }
        if all.commands.is_empty() {
            let folders: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
            return Err(CatalogueError::Empty {
                folders: folders.join(", "),
            });
        }
        Ok(all)
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let unreadable = |error: std::io::Error| unreadable(folder, &error);
    trusted(folder, &fs::metadata(folder).map_err(unreadable)?)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<String, CatalogueError> {
    let unreadable = |error: std::io::Error| unreadable(path, &error);
    // What is checked is what is read, whatever the name leads to by then.
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    trusted(path, &found)?;
    if !found.is_file() || found.len() > LONGEST_FILE {
        return Err(CatalogueError::Unreadable {
            path: path.into(),
            why: "it is no file of at most 1 MiB".into(),
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn trusted(path: &Path, found: &fs::Metadata) -> Result<(), CatalogueError> {
    trust::check(found).map_err(|why| CatalogueError::Unreadable {
        path: path.into(),
        why,
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> CatalogueError {
    CatalogueError::Unreadable {
        path: path.into(),
        why: error.to_string(),
    }
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
