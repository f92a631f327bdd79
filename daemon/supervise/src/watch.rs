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

/// Signals without a meaning to this process. A handler replaces an inherited "ignore", and an executed program begins
/// with the default.
const UNHEARD: [i32; 9] = [
    SIGALRM, SIGPROF, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
];

/// The events, as descriptors to poll.
#[derive(Debug)]
pub struct Watch {
    /// Readable when a child has ended.
    children: UnixStream,
    /// Readable when a signal asks this process to end, and with it the program.
    asked: UnixStream,
    has_to_end: bool,
}

impl Watch {
    /// Installs the signal handlers. The program inherits neither them nor any signal that was ignored.
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

    /// Whether the program has to end, because of the lifeline or a signal.
    pub fn has_to_end(&self) -> bool {
        self.has_to_end
    }

    /// Waits for the next event, at most for `patience`. Once the program has to end, it also reads `outputs`, since
    /// gemmad may no longer do so.
    pub fn wait(
        &mut self,
        patience: Option<Duration>,
        lifeline: &UnixStream,
        outputs: &mut Outputs,
    ) {
        // No pause here is too long for a `Timespec`.
        let patience = patience.map(|it| Timespec::try_from(it).unwrap_or_default());
        let readable = |it| PollFd::from_borrowed_fd(it, PollFlags::IN);
        let mut awaited = vec![readable(self.children.as_fd())];
        if self.has_to_end {
            awaited.extend(outputs.open().map(readable));
        } else {
            awaited.extend([self.asked.as_fd(), lifeline.as_fd()].map(readable));
        }
        // A signal that interrupts it and matters here has also made a pipe readable.
        let _ = poll(&mut awaited, patience.as_ref());
        if self.has_to_end {
            outputs.drain();
        } else {
            let mut asked = awaited[1..].iter();
            self.has_to_end = asked.any(|it| !it.revents().is_empty());
        }
        // Several signals are one event.
        while matches!(self.children.read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// A socket that becomes readable with each of these signals.
fn listen(signals: &[i32]) -> io::Result<UnixStream> {
    let (told, tells) = UnixStream::pair()?;
    for signal in signals {
        pipe::register(*signal, tells.try_clone()?)?;
    }
    told.set_nonblocking(true)?;
    Ok(told)
}
