//! A child process that is killed with its owner, and whose standard error is kept.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{ChildStdout, Command},
    sync::mpsc,
};

use crate::Error;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: tokio::process::Child,
    said: Said,
}

/// Lines written to standard error so far.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn push(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Lines of standard error, as the program writes them.
pub(crate) type Lines = mpsc::UnboundedReceiver<String>;

impl Process {
    /// Starts `command`; its lines on standard error are both kept and returned.
    pub(crate) fn start(command: std::process::Command) -> Result<(Self, Lines), Error> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut command = Command::from(command);
        command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| Error::Program {
            program: name.clone(),
            source,
        })?;
        let said = Said::default();
        let (sender, lines) = mpsc::unbounded_channel();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep(stderr, said.clone(), sender));
        }
        Ok((Self { name, child, said }, lines))
    }

    /// Takes its standard output, if that is piped and was not taken before.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.text()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().await.map_err(|source| Error::Program {
            program: self.name.clone(),
            source,
        })
    }

    /// Its process id; `None` once it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends `signal`, unless it has ended already.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // It can fail only if the process is ending, which is the purpose of most signals here.
            let _ = kill_process(pid, signal);
        }
    }

    /// The error if it ended before it was up.
    pub(crate) fn not_started(&self) -> Error {
        Error::NotStarted {
            program: self.name.clone(),
            said: self.said(),
        }
    }
}

async fn keep(stderr: impl AsyncRead + Unpin, said: Said, sender: mpsc::UnboundedSender<String>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        said.push(&line);
        // Sending fails once the program is up, when the receiver is dropped.
        let _ = sender.send(line);
    }
}
