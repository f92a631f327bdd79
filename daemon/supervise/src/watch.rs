//! Waiting for the next event: a child has ended, the program has to end, or time is up.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use crate::descriptors::Outputs;

/// Signals that mean nothing to this process.
const UNHEARD: [i32; 9] = [
    SIGALRM, SIGPROF, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
];

/// The events.
#[derive(Debug)]
pub struct Watch {
    /// Readable when a child has ended.
    children: UnixStream,
    /// Readable when somebody asks this process to end, which is to end the program.
    asked: UnixStream,
    has_to_end: bool,
}

impl Watch {
    /// Begins to listen to signals. The program inherits none of that, and no signal that this process was told to
    /// ignore: one with a handler has its default in a program that is run.
    pub fn start() -> io::Result<Self> {
        for signal in UNHEARD {
            flag::register(signal, Arc::default())?;
        }
        Ok(Self {
            children: listen(&[SIGCHLD])?,
            asked: listen(&[SIGTERM, SIGINT, SIGHUP, SIGQUIT])?,
            has_to_end: false,
        })
    }

    /// Whether the program has to end: the lifeline says so, or a signal did.
    pub fn has_to_end(&self) -> bool {
        self.has_to_end
    }

    /// Waits for the next event, at most for `patience`. Reads `outputs` once the program has to end, when gemmad may
    /// have stopped to.
    pub fn wait(
        &mut self,
        patience: Option<Duration>,
        lifeline: &UnixStream,
        outputs: &mut Outputs,
    ) {
        // None is too long for the kernel.
        let patience = patience.map(|it| Timespec::try_from(it).unwrap_or_default());
        let readable = |it| PollFd::from_borrowed_fd(it, PollFlags::IN);
        let mut awaited = vec![readable(self.children.as_fd())];
        if self.has_to_end {
            awaited.extend(outputs.open().map(readable));
        } else {
            awaited.extend([self.asked.as_fd(), lifeline.as_fd()].map(readable));
        }
        // What interrupts it is a signal, of which the pipes tell too.
        let _ = poll(&mut awaited, patience.as_ref());
        if self.has_to_end {
            outputs.drain();
        } else {
            let mut asked = awaited[1..].iter();
            self.has_to_end = asked.any(|it| !it.revents().is_empty());
        }
        // Many signals are one event.
        while matches!(self.children.read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// The end of a pipe that becomes readable with each of these signals.
fn listen(signals: &[i32]) -> io::Result<UnixStream> {
    let (told, tells) = UnixStream::pair()?;
    for signal in signals {
        pipe::register(*signal, tells.try_clone()?)?;
    }
    told.set_nonblocking(true)?;
    Ok(told)
}
