//! A child process that is killed with its owner, and whose standard error is kept.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{ChildStdout, Command},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::Error;

/// Longest wait for what a program that has ended said last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: tokio::process::Child,
    said: Said,
    /// Reads its standard error to the end.
    reader: Option<JoinHandle<()>>,
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
        let stderr = child.stderr.take();
        let reader = stderr.map(|it| tokio::spawn(keep(it, said.clone(), sender)));
        let process = Self {
            name,
            child,
            said,
            reader,
        };
        Ok((process, lines))
    }

    /// Takes its standard output, if that is piped and was not taken before.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.text()
    }

    /// Waits until it ends by itself. All that it said is kept then.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, Error> {
        let ended = self.child.wait().await.map_err(|source| Error::Program {
            program: self.name.clone(),
            source,
        });
        if let Some(reader) = self.reader.take() {
            // What it has started may hold its standard error open.
            let _ = timeout(LAST_WORDS, reader).await;
        }
        ended
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
