//! A program that the daemon runs, with all that it begins.

use std::io;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A program in a process group of its own, which is killed when this is dropped before the program has ended.
#[derive(Debug)]
pub struct Group {
    /// The program.
    pub child: Child,
    /// As long as one of the group lives, this number is nobody else's.
    id: Pid,
    has_ended: bool,
}

impl Group {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self {
            child,
            id: id.ok_or(io::ErrorKind::NotFound)?,
            has_ended: false,
        })
    }

    /// Waits until the program has ended. Others of the group may go on.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.has_ended = true;
        status
    }

    /// Signals the whole group, of which nobody may be left.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.id, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.has_ended {
            self.signal(Signal::KILL);
        }
    }
}
