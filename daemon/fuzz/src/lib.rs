//! Helpers for several targets: input in two parts, files in memory, and checks that all error messages must pass.

use std::{fs::File, io::Write, os::fd::AsRawFd, panic, path::PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

/// Maximum length of a message, in bytes. It may quote an excerpt of its input only.
const LONGEST_MESSAGE: usize = 2000;

/// Splits input into a text and, after a NUL byte, choices for the target. `None`: the first part is not UTF-8.
pub fn text_and_choices(input: &[u8]) -> Option<(&str, &[u8])> {
    let end = input.iter().position(|byte| *byte == 0);
    let (text, choices) = input.split_at(end.unwrap_or(input.len()));
    let text = std::str::from_utf8(text).ok()?;
    Some((text, choices.get(1..).unwrap_or_default()))
}

/// Lets panics unwind that begin in a crate whose path contains one of these names: the daemon catches them and reports
/// them. For all others libFuzzer's hook ends the process.
pub fn forgive(crates: &'static [&'static str]) {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !crates.iter().any(|name| file.contains(name)) {
            end(panic);
        }
    }));
}

/// Asserts that an error message is one readable line of bounded length.
pub fn assert_message(message: &str) {
    assert!(!message.is_empty());
    assert!(message.len() <= LONGEST_MESSAGE, "{} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(!message.contains("panicked"), "{message:?}");
}

/// A regular file in memory, with a path in this process.
pub struct MemoryFile(File);

impl MemoryFile {
    /// A file that holds `bytes`, followed by zeros up to `length` if that is more. The zeros take no memory until they
    /// are read.
    ///
    /// # Panics
    /// If the system has no memory for it.
    pub fn new(bytes: &[u8], length: u64) -> Self {
        let file = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("the system has memory");
        let mut file = File::from(file);
        file.write_all(bytes).expect("the system has memory");
        if length > bytes.len() as u64 {
            file.set_len(length).expect("the system has memory");
        }
        Self(file)
    }

    /// Its path, valid as long as this value exists.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}
