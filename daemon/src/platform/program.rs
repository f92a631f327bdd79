//! Programs that the daemon runs, with their descendants.
//!
//! Each program has a supervisor, `gemmad-supervise`. The supervisor gives it three descriptors and no other, ends it
//! in order when the daemon asks for that or is gone, and kills the processes that it leaves behind.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gemmad_supervise::{GRACE, NAME, Order, Report};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use super::environment::Environment;

/// Longest reading of a program's pipes after its end. Its descendants have been killed by then, and hold the pipes
/// open only while they wait for a disk.
const LINGERING: Duration = Duration::from_millis(200);

/// Longest wait for the end of a program and its descendants: the supervisor's grace, and a second to kill and to be
/// scheduled.
const ENDING: Duration = GRACE.saturating_add(Duration::from_secs(1));

/// Longest report of a supervisor, in bytes.
const LONGEST_REPORT: u64 = 64;

/// A program to be run.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its path, or a name that is looked up in `PATH`.
    pub path: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its standard input; `None`: nothing.
    pub input: Option<Vec<u8>>,
    /// Its environment variables.
    pub environment: &'a Environment,
    /// More environment variables.
    pub variables: Vec<(&'static str, OsString)>,
    /// User and group it runs as; `None`: the daemon's.
    pub account: Option<(u32, u32)>,
}

/// A running program.
#[derive(Debug)]
pub struct Running {
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
    /// Its lifeline, which keeps it running.
    pub lifeline: Lifeline,
}

/// The connection that keeps a program running. When it is dropped, the program gets SIGTERM, and half a second later
/// it and its descendants are killed.
#[derive(Debug)]
pub struct Lifeline {
    stream: UnixStream,
    /// Reaped by tokio, also after this is dropped.
    _supervisor: Child,
}

/// Why a program did not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The supervisor is not installed.
    #[error("{NAME}, which has to run it, is not beside gemmad in {} nor in ../lib/gemmad from there; it is a part of gemmad: install that again", .0.display())]
    NoSupervisor(PathBuf),
    /// The supervisor cannot be started.
    #[error("{NAME}, which has to run it, cannot be started: {0}")]
    Unsupervised(#[source] io::Error),
    /// There is no such program.
    #[error("there is no such program, or its first line names an interpreter that is not there")]
    NotFound,
    /// It is not executable.
    #[error("the daemon's user may not execute it; see `ls -l`")]
    Forbidden,
    /// The system refused to start it for another reason.
    #[error("{0}")]
    NotStarted(#[source] io::Error),
    /// The supervisor ended without a report.
    #[error("{NAME}, which ran it, was killed; the program's exit status is unknown")]
    Lost,
}

impl Program<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// When the supervisor cannot be started. [`Lifeline::ended`] tells whether the program itself could be started.
    pub async fn start(mut self) -> Result<Running, ProgramError> {
        let input = self.input.take();
        let mut running = self.spawn(input.as_ref().map(Vec::len))?;
        // The supervisor reads at once. If it is gone, `Lifeline::ended` reports that.
        let _ = running
            .lifeline
            .stream
            .write_all(&input.unwrap_or_default())
            .await;
        Ok(running)
    }

    fn spawn(self, input: Option<usize>) -> Result<Running, ProgramError> {
        let order = Order {
            input,
            account: self.account,
            program: self.path,
            arguments: self.arguments,
        };
        let failed = ProgramError::Unsupervised;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let mut child = Command::new(supervisor()?)
            .args(order.arguments())
            .env_clear()
            .envs(self.environment.variables())
            .envs(self.variables)
            .current_dir("/")
            // Keeps Ctrl-C in the daemon's terminal from the program.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let lifeline = Lifeline {
            stream: UnixStream::from_std(ours).map_err(failed)?,
            _supervisor: child,
        };
        Ok(Running {
            stdout,
            stderr,
            lifeline,
        })
    }
}

impl Lifeline {
    /// Waits until the program has ended. Its remaining descendants are killed by then. Call once.
    ///
    /// # Errors
    /// When it could not be started, or its supervisor is gone.
    pub async fn ended(&mut self) -> Result<ExitStatus, ProgramError> {
        let mut line = String::new();
        let mut reader = BufReader::new(&mut self.stream).take(LONGEST_REPORT);
        let read = reader.read_line(&mut line).await;
        match read.map(|_| line.parse()) {
            Ok(Ok(Report::Ended(status))) => Ok(status),
            Ok(Ok(Report::NotStarted(number))) => Err(refused(number)),
            Ok(Err(_)) | Err(_) => Err(ProgramError::Lost),
        }
    }

    /// Ends the program and its descendants in order, and waits for that.
    pub async fn end(mut self) {
        let _ = self.stream.shutdown().await;
        // The supervisor closes the connection when no process is left.
        let mut rest = sink();
        let _ = timeout(ENDING, copy(&mut self.stream, &mut rest)).await;
    }
}

/// Waits for `main`, which ends with the program, while `reading` of its pipes goes on. The program's last output is
/// read too, for 200 ms at most.
///
/// # Errors
/// Those of `main`.
pub async fn alongside<T, E>(
    main: impl Future<Output = Result<T, E>>,
    reading: impl Future,
) -> Result<T, E> {
    let (mut main, mut reading) = (pin!(main), pin!(reading));
    let done = tokio::select! {
        done = &mut main => done?,
        _ = &mut reading => return main.await,
    };
    let _ = timeout(LINGERING, reading).await;
    Ok(done)
}

/// Reads all of `pipe`, so that the program is never held up, and keeps the first `most` bytes.
pub async fn read(mut pipe: impl AsyncRead + Unpin, most: usize, kept: &mut Vec<u8>) {
    let mut piece = vec![0; 4096];
    // A failed read ends the pipe.
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        let room = most.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
}

/// How a program ended, in words.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    let Some(number) = status.signal() else {
        // A program that ended without a signal has a code.
        return format!("it ended with code {}", status.code().unwrap_or_default());
    };
    match Signal::try_from(number) {
        Ok(signal) => format!("it was killed by signal {number} ({signal})"),
        Err(_) => format!("it was killed by signal {number}"),
    }
}

/// The error for the system's error number when a program was not started.
fn refused(number: i32) -> ProgramError {
    let error = io::Error::from_raw_os_error(number);
    match error.kind() {
        io::ErrorKind::NotFound => ProgramError::NotFound,
        io::ErrorKind::PermissionDenied => ProgramError::Forbidden,
        _ => ProgramError::NotStarted(error),
    }
}

/// The supervisor's path: in the folder of this program, or where a package installs it.
fn supervisor() -> Result<PathBuf, ProgramError> {
    let own = std::env::current_exe().map_err(ProgramError::Unsupervised)?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let mut places = vec![folder.join(NAME), folder.join("../lib/gemmad").join(NAME)];
    if cfg!(test) {
        // Cargo puts tests into a folder below that of the programs.
        places.push(folder.join("..").join(NAME));
    }
    let found = places.iter().position(|it| it.is_file());
    found
        .map(|it| places.swap_remove(it))
        .ok_or_else(|| ProgramError::NoSupervisor(folder.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let told = [
            (0, "it ended with code 0"),
            (2 << 8, "it ended with code 2"),
            (11, "it was killed by signal 11 (SIGSEGV)"),
            (40, "it was killed by signal 40"),
        ];
        for (raw, text) in told {
            assert_eq!(describe(ExitStatus::from_raw(raw)), text);
        }
    }
}
