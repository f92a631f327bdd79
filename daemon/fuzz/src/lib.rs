//! What several targets need: input in two parts, files that are in memory alone, and what messages of errors have in
//! common.

use std::{fs::File, io::Write, os::fd::AsRawFd, panic, path::PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

/// Most bytes of a message. What it quotes of its input is an excerpt.
const LONGEST_MESSAGE: usize = 2000;

/// Cuts input into a text and, after a NUL byte, choices that are made about it. `None` where the first part is no text.
pub fn text_and_choices(input: &[u8]) -> Option<(&str, &[u8])> {
    let end = input.iter().position(|byte| *byte == 0);
    let (text, choices) = input.split_at(end.unwrap_or(input.len()));
    let text = std::str::from_utf8(text).ok()?;
    Some((text, choices.get(1..).unwrap_or_default()))
}

/// Lets panics unwind that begin in a crate whose folder's name has one of these in it: the daemon catches them, and
/// says so. libFuzzer's hook ends the process at any.
pub fn forgive(crates: &'static [&'static str]) {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !crates.iter().any(|name| file.contains(name)) {
            end(panic);
        }
    }));
}

/// Asserts that a message of an error is one line that people can read.
pub fn assert_message(message: &str) {
    assert!(!message.is_empty());
    assert!(message.len() <= LONGEST_MESSAGE, "{} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(!message.contains("panicked"), "{message:?}");
}

/// A regular file that is in memory alone and has a path in this process.
pub struct MemoryFile(File);

impl MemoryFile {
    /// A file that holds `bytes`, and after them zeros up to `length` if that is more. Zeros take no memory before they
    /// are read.
    ///
    /// # Panics
    /// When the system has no memory for it.
    pub fn new(bytes: &[u8], length: u64) -> Self {
        let file = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("the system has memory");
        let mut file = File::from(file);
        file.write_all(bytes).expect("the system has memory");
        if length > bytes.len() as u64 {
            file.set_len(length).expect("the system has memory");
        }
        Self(file)
    }

    /// Where it is for as long as this is there.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}
