//! Reading whole regular files up to a size, such as a configuration.
//!
//! A path may lead to a FIFO without a writer, or to a device that never ends. So only a regular file is opened, or
//! `/dev/null` as an empty one. Opening does not block, and no more than the limit is read.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gemmad_text as text;
use rustix::fs::OFlags;

/// Most characters of a path in a message.
const LONGEST_PATH: usize = 400;

/// Why a file was not read. Its text names the file, the problem and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// The system refused to open or to read it.
    #[error("{}: {why}", shown(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// It is not a regular file.
    #[error("{}: it is {found}; name a regular file", shown(path))]
    NotRegular {
        /// Its path.
        path: PathBuf,
        /// Its kind, such as "a folder".
        found: &'static str,
    },
    /// It is longer than the limit.
    #[error("{}: it has more than {most} bytes; shorten it", shown(path))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        most: usize,
    },
    /// It is not UTF-8.
    #[error(
        "{}:{line}: there is no UTF-8 here; save the file as UTF-8",
        shown(path)
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// A regular file that is open.
#[derive(Debug)]
pub struct Regular {
    path: PathBuf,
    file: File,
    found: Metadata,
}

/// Reads a regular file of at most `most_bytes` bytes that is UTF-8. A byte order mark is left out.
///
/// # Errors
/// [`FileProblem`].
pub fn read_text(path: &Path, most_bytes: usize) -> Result<String, FileProblem> {
    Regular::open(path)?.text(most_bytes)
}

/// A path, fit to be displayed.
#[must_use]
pub fn shown(path: &Path) -> String {
    text::line(&path.to_string_lossy(), LONGEST_PATH).into_owned()
}

impl Regular {
    /// Opens the file at `path` without blocking.
    ///
    /// # Errors
    /// [`FileProblem::NotRegular`] or [`FileProblem::Unreadable`].
    pub fn open(path: &Path) -> Result<Self, FileProblem> {
        let unreadable = |error: io::Error| unreadable(path, &error);
        // Checked before opening, because opening a device may have an effect.
        check_regular(path, &fs::metadata(path).map_err(unreadable)?)?;
        let mut options = fs::OpenOptions::new();
        // The bits are the same; only the type of the system's flags is signed.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = options.read(true).custom_flags(flags).open(path);
        let file = file.map_err(unreadable)?;
        // Checked again, because the path may lead elsewhere by now.
        let found = file.metadata().map_err(unreadable)?;
        check_regular(path, &found)?;
        Ok(Self {
            path: path.into(),
            file,
            found,
        })
    }

    /// Its metadata, from when it was opened.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.found
    }

    /// Reads at most `most` bytes.
    ///
    /// # Errors
    /// [`FileProblem::TooLong`] or [`FileProblem::Unreadable`].
    pub fn bytes(&self, most: usize) -> Result<Vec<u8>, FileProblem> {
        let path = &self.path;
        let mut bytes = Vec::new();
        let read = (&self.file).take(most as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(path, &error))?;
        if bytes.len() > most {
            let path = path.clone();
            return Err(FileProblem::TooLong { path, most });
        }
        Ok(bytes)
    }

    /// Reads at most `most` bytes of UTF-8. A byte order mark is left out.
    ///
    /// # Errors
    /// [`FileProblem::TooLong`], [`FileProblem::NotText`] or [`FileProblem::Unreadable`].
    pub fn text(self, most: usize) -> Result<String, FileProblem> {
        let bytes = self.bytes(most)?;
        let path = self.path;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            // All of `before` is UTF-8.
            let line = 1 + String::from_utf8_lossy(before).matches('\n').count();
            FileProblem::NotText { path, line }
        })?;
        match text.strip_prefix('\u{FEFF}') {
            Some(text) => Ok(text.to_owned()),
            None => Ok(text),
        }
    }
}

fn check_regular(path: &Path, found: &Metadata) -> Result<(), FileProblem> {
    let kind = found.file_type();
    let is_null = kind.is_char_device() && found.rdev() == rustix::fs::makedev(1, 3);
    let found = if kind.is_file() || is_null {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(FileProblem::NotRegular {
        path: path.into(),
        found,
    })
}

fn unreadable(path: &Path, error: &io::Error) -> FileProblem {
    FileProblem::Unreadable {
        path: path.into(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn refused(path: &Path) -> String {
        read_text(path, 8).unwrap_err().to_string()
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gemmad.toml");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(refused(&path).ends_with("gemmad.toml: it is a FIFO; name a regular file"));
        assert!(refused(Path::new("/dev/zero")).contains("it is a device"));
        assert!(refused(folder.path()).contains("it is a folder"));
        assert!(refused(Path::new("/nonexistent")).starts_with("/nonexistent: No such file"));
        assert_eq!(read_text(Path::new("/dev/null"), 8).unwrap(), "");
        // Its size is reported as 0.
        assert!(refused(Path::new("/proc/self/status")).contains("more than 8 bytes"));
    }

    #[test]
    fn a_file_is_text_up_to_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a\nb");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_text(&path, 8)
        };
        assert_eq!(read(b"12345678").unwrap(), "12345678");
        assert_eq!(read(b"\xEF\xBB\xBFa = 1").unwrap(), "a = 1");
        assert!(matches!(
            read(b"123456789"),
            Err(FileProblem::TooLong { most: 8, .. })
        ));
        let refused = read(b"a\nb\xFF").unwrap_err().to_string();
        assert!(
            refused.ends_with("a b:2: there is no UTF-8 here; save the file as UTF-8"),
            "{refused}"
        );
    }
}
