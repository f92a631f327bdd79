//! Signals of the operator, received on a thread of their own, so that they take effect even if other threads hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals as Arriving;
use tokio::sync::mpsc;

use super::end;

/// The request of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To end: SIGTERM (systemd) or SIGINT (Ctrl-C).
    Stop,
    /// To read the configuration again: SIGHUP.
    Reload,
}

/// The receiver of these signals. The first request to end leads to an orderly shutdown within 8 s; a second one ends
/// the process at once.
#[derive(Debug)]
pub struct Signals {
    asked: mpsc::UnboundedReceiver<Asked>,
    /// Whether a request to end kills the process, as without a handler.
    at_once: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to receive signals. Until [`Self::end_in_order`] is called there is nothing to shut down in order, and a
    /// request to end kills the process.
    ///
    /// # Errors
    /// When the handlers cannot be installed, or the system has no thread to give.
    pub fn listen() -> io::Result<Self> {
        let at_once = Arc::new(AtomicBool::new(true));
        for signal in [SIGTERM, SIGINT] {
            // The handler takes these actions in this order, so the first signal finds the flag unset.
            flag::register_conditional_default(signal, Arc::clone(&at_once))?;
            flag::register(signal, Arc::clone(&at_once))?;
        }
        let arriving = Arriving::new([SIGTERM, SIGINT, SIGHUP])?;
        let (heard, asked) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || follow(arriving, &heard))?;
        Ok(Self { asked, at_once })
    }

    /// From now on the first request to end waits for [`Self::next`].
    pub fn end_in_order(&self) {
        self.at_once.store(false, Ordering::SeqCst);
    }

    /// Waits for a signal; returns at once if one has arrived.
    pub async fn next(&mut self) -> Asked {
        // The thread never ends, so neither does the channel.
        self.asked.recv().await.unwrap_or(Asked::Stop)
    }
}

fn follow(mut arriving: Arriving, heard: &mpsc::UnboundedSender<Asked>) {
    for signal in arriving.forever() {
        let asked = if signal == SIGHUP {
            Asked::Reload
        } else {
            end::by_deadline();
            Asked::Stop
        };
        // The receiver may be gone while the daemon ends.
        let _ = heard.send(asked);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Prints when it listens and when it was asked to end, and hangs. The variable is set only in the process that the
    /// other tests start.
    #[tokio::test]
    #[ignore = "the other tests start it"]
    async fn listens_and_hangs() {
        let mut signals = Signals::listen().unwrap();
        if std::env::var_os("NOTHING_TO_END").is_some() {
            println!("\nlistens");
        } else {
            signals.end_in_order();
            println!("\nlistens");
            let asked = signals.next().await;
            println!("\n{asked:?}");
        }
        loop {
            thread::park();
        }
    }

    struct Hanging {
        child: Child,
        lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    }

    impl Hanging {
        fn start(variables: &[(&str, &str)]) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--nocapture", "--exact"])
                .arg("platform::signals::tests::listens_and_hangs")
                .envs(variables.iter().copied())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            Self { child, lines }
        }

        fn says(&mut self, wanted: &str) {
            assert!(self.lines.any(|line| line.unwrap() == wanted), "{wanted}");
        }

        fn signal(&self, signal: Signal) {
            let id = Pid::from_raw(self.child.id().cast_signed()).unwrap();
            kill_process(id, signal).unwrap();
        }

        /// Its exit status, and the time to its end.
        fn end(mut self) -> (ExitStatus, Duration) {
            let begun = Instant::now();
            (self.child.wait().unwrap(), begun.elapsed())
        }
    }

    #[test]
    fn an_end_that_hangs_is_cut_short() {
        let mut hanging = Hanging::start(&[]);
        hanging.says("listens");
        hanging.signal(Signal::TERM);
        hanging.says("Stop");
        let (status, time) = hanging.end();
        assert_eq!(status.code(), Some(1));
        assert!((7..10).contains(&time.as_secs()), "{time:?}");
    }

    #[test]
    fn a_second_signal_ends_at_once() {
        let mut hanging = Hanging::start(&[]);
        hanging.says("listens");
        hanging.signal(Signal::INT);
        hanging.says("Stop");
        hanging.signal(Signal::TERM);
        let (status, time) = hanging.end();
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
        assert!(time < Duration::from_secs(5), "{time:?}");
    }

    #[test]
    fn before_there_is_anything_to_end_in_order_the_first_ends_at_once() {
        let mut hanging = Hanging::start(&[("NOTHING_TO_END", "1")]);
        hanging.says("listens");
        hanging.signal(Signal::TERM);
        let (status, time) = hanging.end();
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
        assert!(time < Duration::from_secs(5), "{time:?}");
    }

    #[test]
    fn a_reload_is_not_an_end() {
        let mut hanging = Hanging::start(&[]);
        hanging.says("listens");
        hanging.signal(Signal::HUP);
        hanging.says("Reload");
        hanging.signal(Signal::TERM);
        hanging.signal(Signal::TERM);
        hanging.end();
    }
}
