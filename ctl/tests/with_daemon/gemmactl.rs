//! A running `gemmactl`.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    os::unix::process::ExitStatusExt,
    process::Stdio,
};

use gemmad_testbed::Daemon;
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use crate::within;

/// A running `gemmactl --session`; killed when dropped.
pub struct Gemmactl {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
}

/// Result of a `gemmactl` that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code as in a shell: 128 plus the signal if a signal ended it.
    pub code: Option<i32>,
    /// Without the lines that the test read while it ran.
    pub stdout: String,
    pub stderr: String,
}

impl Gemmactl {
    pub fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        Self::spawn(daemon, arguments, Stdio::null())
    }

    fn spawn(daemon: &Daemon, arguments: &[&str], stdin: Stdio) -> Self {
        Self::with(daemon.gemmactl().unwrap(), arguments, stdin)
    }

    /// Starts `command`: `gemmactl` with its own environment, or a shell that runs it.
    pub fn of(command: std::process::Command, arguments: &[&str]) -> Self {
        Self::with(command, arguments, Stdio::null())
    }

    /// Starts `command` with `input` as its standard input.
    pub fn of_with(
        command: std::process::Command,
        arguments: &[&str],
        input: impl Into<Stdio>,
    ) -> Self {
        Self::with(command, arguments, input.into())
    }

    fn with(command: std::process::Command, arguments: &[&str], stdin: Stdio) -> Self {
        let mut child = Command::from(command)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take().map(BufReader::new).unwrap(),
            child,
        }
    }

    /// Runs it to its end.
    pub async fn run(daemon: &Daemon, arguments: &[&str]) -> Ended {
        Self::start(daemon, arguments).end().await
    }

    /// Runs it to its end with `input` on standard input.
    pub async fn run_with(daemon: &Daemon, arguments: &[&str], input: &[u8]) -> Ended {
        let mut running = Self::spawn(daemon, arguments, Stdio::piped());
        let mut stdin = running.child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        running.end().await
    }

    /// Starts it with `input` as its standard input.
    pub fn start_with(daemon: &Daemon, arguments: &[&str], input: impl Into<Stdio>) -> Self {
        Self::spawn(daemon, arguments, input.into())
    }

    /// Runs it to its end with a terminal as standard output; returns the terminal's text.
    pub async fn run_on_terminal(daemon: &Daemon, arguments: &[&str]) -> String {
        let terminal = Terminal::open();
        let mut command = Command::from(daemon.gemmactl().unwrap());
        command.args(arguments).stdin(Stdio::null());
        let child = command.stdout(terminal.line()).spawn();
        // `command` holds the terminal's line while it exists, and `shown` ends only when nothing holds it.
        drop(command);
        let status = within(child.unwrap().wait()).await.unwrap();
        assert!(status.success(), "{status}");
        terminal.shown()
    }

    /// Waits until it has ended.
    pub async fn end(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        within(async {
            if let Some(stdout) = &mut self.stdout {
                stdout.read_to_string(&mut out).await.unwrap();
            }
            self.stderr.read_to_string(&mut err).await.unwrap();
            Ended {
                code: {
                    let status = self.child.wait().await.unwrap();
                    status.code().or(status.signal().map(|it| 128 + it))
                },
                stdout: out,
                stderr: err,
            }
        })
        .await
    }

    /// The next line on standard output.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        within(stdout.read_line(&mut line)).await.unwrap();
        line
    }

    /// The next line on standard error.
    pub async fn remark(&mut self) -> String {
        let mut line = String::new();
        within(self.stderr.read_line(&mut line)).await.unwrap();
        line
    }

    /// Waits until standard output holds something, and leaves it unread.
    pub async fn begins_to_answer(&mut self) {
        let stdout = self.stdout.as_mut().unwrap();
        assert!(!within(stdout.fill_buf()).await.unwrap().is_empty());
    }

    /// Stops reading its standard output, as `head` does.
    pub fn close_output(&mut self) {
        self.stdout = None;
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

/// A terminal that only the test reads and writes.
pub struct Terminal(OwnedFd);

impl Terminal {
    pub fn open() -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        Self(terminal)
    }

    /// The end for the program.
    pub fn line(&self) -> File {
        let name = ptsname(&self.0, Vec::new()).unwrap();
        File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap()
    }

    /// Types a line.
    pub fn types(&self, line: &str) {
        let mut keyboard = File::from(self.0.try_clone().unwrap());
        writeln!(keyboard, "{line}").unwrap();
    }

    /// Its text, once no program holds it.
    fn shown(self) -> String {
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        let mut screen = File::from(self.0);
        // Reading ends with an error, after all text has been read.
        while let Ok(length @ 1..) = screen.read(&mut piece) {
            shown.extend_from_slice(&piece[..length]);
        }
        String::from_utf8(shown).unwrap()
    }
}
