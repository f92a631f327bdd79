//! Descriptors of the program: standard input, output and error, and no other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;

use rustix::fs::OFlags;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Capacity of a pipe, in bytes, by default (pipe(7)).
const PIPE: usize = 65536;

/// Closes all inherited descriptors except standard input, output and error. Descriptors that gemmad received from its
/// clients may lack `FD_CLOEXEC`.
pub fn close_inherited() {
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    // The descriptor of the folder itself is listed too; it is closed already when the loop below begins.
    let open: Vec<RawFd> = open
        .filter_map(|it| it.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|it| *it > 2) {
        let _ = nix::unistd::close(descriptor);
    }
}

/// Takes the lifeline from standard input, which then reads `/dev/null`.
pub fn lifeline() -> io::Result<UnixStream> {
    let lifeline = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(lifeline.into())
}

/// The program's output pipes, to be read in gemmad's place once gemmad may be gone: without a reader the program would
/// die of SIGPIPE in its SIGTERM handler.
#[derive(Debug, Default)]
pub struct Outputs(Vec<File>);

impl Outputs {
    /// Opens the pipes at standard output and error for reading, and closes this process's write ends, so that the
    /// pipes end with the program.
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

    /// The pipes that have not ended.
    pub fn open(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Empties the pipes, and drops those that have ended.
    pub fn drain(&mut self) {
        let mut piece = vec![0; PIPE];
        self.0.retain_mut(|pipe| match pipe.read(&mut piece) {
            Ok(length) => length > 0,
            // Empty for now.
            Err(_) => true,
        });
    }
}
