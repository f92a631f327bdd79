//! Which descriptors the program gets: standard input, output and error, and no other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;

use rustix::fs::OFlags;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Bytes that a pipe holds unless somebody changes that (pipe(7)).
const PIPE: usize = 65536;

/// Closes whatever was inherited besides standard input, output and error: descriptors that gemmad got from its
/// clients may lack `FD_CLOEXEC`.
pub fn close_inherited() {
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    // The folder itself is among them, and closed before the others are.
    let open: Vec<RawFd> = open
        .filter_map(|it| it.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|it| *it > 2) {
        let _ = nix::unistd::close(descriptor);
    }
}

/// Takes the lifeline from standard input.
pub fn lifeline() -> io::Result<UnixStream> {
    let lifeline = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(lifeline.into())
}

/// What the program writes, as long as somebody has to read it in gemmad's place: without a reader it would die of
/// SIGPIPE in its handler of SIGTERM.
#[derive(Debug, Default)]
pub struct Outputs(Vec<File>);

impl Outputs {
    /// Opens pipes at standard output and error for reading, and lets go of the ends for writing, so that they end
    /// with the program.
    pub fn take_over() -> Self {
        let pipes = ["/proc/self/fd/1", "/proc/self/fd/2"].map(|path| {
            fs::metadata(path)
                .ok()
                .filter(|it| it.file_type().is_fifo())?;
            let mut options = OpenOptions::new();
            options
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
            options.open(path).ok()
        });
        if let Ok(nothing) = OpenOptions::new().write(true).open("/dev/null") {
            let _ = dup2_stdout(&nothing).and_then(|()| dup2_stderr(&nothing));
        }
        Self(pipes.into_iter().flatten().collect())
    }

    /// Those that have not ended.
    pub fn open(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Reads as much as pipes hold, and lets go of those that have ended.
    pub fn drain(&mut self) {
        let mut piece = vec![0; PIPE];
        self.0.retain_mut(|pipe| match pipe.read(&mut piece) {
            Ok(length) => length > 0,
            // There is nothing now.
            Err(_) => true,
        });
    }
}
