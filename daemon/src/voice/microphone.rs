//! The microphone over time: opened when wanted, watched while open, and got back when it is lost.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpal::HostId;
use tokio::sync::mpsc::UnboundedSender;

use super::Heard;
use super::capture::{self, Capture, Closed, Opening};

/// A microphone that delivers nothing for so long is gone, whatever the sound system says.
const SILENT: Duration = Duration::from_secs(2);

/// A sound system that has not opened a microphone after so long is reported, and a microphone that
/// has not begun to deliver after so long is given up.
const SLOW: Duration = Duration::from_secs(5);

/// Pause before the first attempt to get a microphone back; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The microphone that should be open, or not.
pub struct Microphone {
    /// Its id or name; empty: the default.
    device: String,
    /// The thread that is woken when there is something to do here.
    listener: Thread,
    heard: UnboundedSender<Heard>,
    state: State,
    /// Pause before the next attempt.
    pause: Duration,
    /// Where the default microphone was found. Another sound system does not take its place: a
    /// restarted server must find the device free.
    host: Option<HostId>,
    /// The last stream that was opened, which may still hold the device.
    last: Option<Closed>,
    /// The problem that was reported last; empty: none.
    problem: String,
}

enum State {
    /// Not wanted.
    Closed,
    /// Tried again at that time.
    Waiting(Instant),
    /// Being opened since then.
    Opening(Opening, Instant),
    /// Open, but there was no sound yet: it may be there in name only.
    Opened(Capture),
    /// Sound comes.
    Sounding(Capture),
}

/// What a look at the microphone found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was opened: a new stream of sound begins.
    Opened,
    /// It was lost: the stream of sound ended.
    Lost,
}

impl Microphone {
    /// A closed microphone. It wakes the calling thread when there is something to do here.
    #[must_use]
    pub fn new(device: String, heard: UnboundedSender<Heard>) -> Self {
        Self {
            device,
            listener: thread::current(),
            heard,
            state: State::Closed,
            pause: FIRST_PAUSE,
            host: None,
            last: None,
            problem: String::new(),
        }
    }

    /// Sees to it that the microphone is open, or is being opened. Does nothing if it is.
    pub fn open(&mut self) {
        if matches!(self.state, State::Closed) {
            self.pause = FIRST_PAUSE;
            self.start();
        }
    }

    /// Closes the device.
    pub fn close(&mut self) {
        self.leave(State::Closed);
        self.set_problem(String::new());
    }

    /// The open microphone.
    pub fn capture(&mut self) -> Option<&mut Capture> {
        match &mut self.state {
            State::Opened(capture) | State::Sounding(capture) => Some(capture),
            State::Closed | State::Waiting(_) | State::Opening(..) => None,
        }
    }

    /// Does what is due now and says what changed.
    pub fn look(&mut self, now: Instant) -> Option<Change> {
        match &self.state {
            State::Closed => None,
            State::Waiting(until) => {
                if *until <= now {
                    self.start();
                }
                None
            }
            State::Opening(opening, since) => match opening.outcome() {
                Some(Ok(capture)) => {
                    self.state = State::Opened(capture);
                    Some(Change::Opened)
                }
                Some(Err(error)) => {
                    self.fail(error.to_string(), now);
                    None
                }
                None => {
                    if *since + SLOW <= now {
                        self.set_problem(format!(
                            "the sound system has not answered for {} s; restart it",
                            SLOW.as_secs()
                        ));
                    }
                    None
                }
            },
            State::Opened(capture) | State::Sounding(capture) => {
                let name = &capture.name;
                let problem = if let Some(fault) = capture.fault() {
                    format!("the microphone {name} failed ({fault}); it is tried again")
                } else if self.deadline().is_some_and(|deadline| deadline <= now) {
                    let seconds = (now - capture.heard()).as_secs();
                    format!(
                        "the microphone {name} gave no sound for {seconds} s; it is tried again"
                    )
                } else {
                    self.greet();
                    return None;
                };
                self.fail(problem, now);
                Some(Change::Lost)
            }
        }
    }

    /// When to look again, if nothing wakes the thread before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Closed => None,
            State::Waiting(until) => Some(*until),
            State::Opening(_, since) => {
                // Once that is reported, only an outcome matters, and that wakes the thread.
                self.problem.is_empty().then_some(*since + SLOW)
            }
            State::Opened(capture) => Some(capture.heard() + SLOW),
            State::Sounding(capture) => Some(capture.heard() + SILENT),
        }
    }

    fn start(&mut self) {
        let now = Instant::now();
        let (device, listener) = (self.device.clone(), self.listener.clone());
        match capture::open(device, self.host, listener, self.last.take()) {
            Ok((opening, closed)) => {
                self.last = Some(closed);
                self.state = State::Opening(opening, now);
            }
            Err(error) => self.fail(format!("no thread for the microphone ({error})"), now),
        }
    }

    /// Announces the microphone when its first sound came.
    fn greet(&mut self) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Opened(capture) if capture.has_sounded() => {
                self.pause = FIRST_PAUSE;
                self.host = Some(capture.host);
                self.report(Heard::Device(Some(capture.name.clone())));
                self.state = State::Sounding(capture);
                self.set_problem(String::new());
            }
            state => self.state = state,
        }
    }

    fn fail(&mut self, problem: String, now: Instant) {
        self.leave(State::Waiting(now + self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.set_problem(problem);
    }

    fn leave(&mut self, state: State) {
        if let State::Sounding(_) = std::mem::replace(&mut self.state, state) {
            self.report(Heard::Device(None));
        }
    }

    fn set_problem(&mut self, problem: String) {
        if self.problem != problem {
            self.problem.clone_from(&problem);
            self.report(Heard::Problem(problem));
        }
    }

    fn report(&self, heard: Heard) {
        // The voice thread ends by itself when nobody listens.
        let _ = self.heard.send(heard);
    }
}
