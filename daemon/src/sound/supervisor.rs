//! A device over time: opened on demand, watched while open, and reopened after a loss.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpal::HostId;

use super::device::Wanted;
use super::stream::{self, Closed, OpenStream, Opening, Streaming};

/// Time without sound after which an open device counts as lost, whatever the sound system reports.
const SILENT: Duration = Duration::from_secs(2);

/// Time after which an unanswered attempt to open a device is reported, and after which an opened device that has moved
/// no sound yet is given up.
const SLOW: Duration = Duration::from_secs(5);

/// Pause before the first retry; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A change of a device that its user should know.
#[derive(Debug)]
pub enum Report {
    /// Name of the device that is now open and moves sound; `None` when it no longer does.
    Device(Option<String>),
    /// Why the wanted device is not open, and the remedy; empty when solved.
    Problem(String),
}

/// One device, open or closed as wanted.
pub struct Supervisor<S> {
    wanted: Wanted,
    /// Unparked when the device needs attention.
    listener: Thread,
    report: Box<dyn Fn(Report) + Send>,
    state: State<S>,
    /// Pause before the next attempt.
    pause: Duration,
    /// Sound system in which the default device was found. Retries stay with it: a restarted server must find the
    /// device free.
    host: Option<HostId>,
    /// The last stream that was opened, which may still hold the device.
    last: Option<Closed>,
    /// The last problem reported; empty: none.
    problem: String,
}

enum State<S> {
    /// Not wanted.
    Closed,
    /// Retried at that time.
    Waiting(Instant),
    /// Being opened since then.
    Opening(Opening<S>, Instant),
    /// Open, but no sound has moved yet: the device may exist in name only.
    Opened(S),
    /// Sound moves.
    Sounding(S),
}

/// The change that [`Supervisor::look`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was opened: a new stream of sound begins.
    Opened,
    /// It was lost: the stream of sound ended.
    Lost,
}

impl<S: Streaming> Supervisor<S> {
    /// A closed device. The calling thread is unparked whenever the device needs [`Self::look`].
    #[must_use]
    pub fn new(wanted: impl Into<Wanted>, report: impl Fn(Report) + Send + 'static) -> Self {
        Self {
            wanted: wanted.into(),
            listener: thread::current(),
            report: Box::new(report),
            state: State::Closed,
            pause: FIRST_PAUSE,
            host: None,
            last: None,
            problem: String::new(),
        }
    }

    /// Starts to open the device, unless it is open, being opened or waiting for a retry.
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

    /// Closes the device and switches to another. That may be the same one by another name, so the last stream is still
    /// waited for.
    pub fn choose(&mut self, wanted: impl Into<Wanted>) {
        self.close();
        self.wanted = wanted.into();
        self.host = None;
    }

    /// The open stream.
    pub fn stream(&mut self) -> Option<&mut S> {
        match &mut self.state {
            State::Opened(stream) | State::Sounding(stream) => Some(stream),
            State::Closed | State::Waiting(_) | State::Opening(..) => None,
        }
    }

    /// Why the wanted device is not open; empty: no problem.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
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
                Some(Ok(stream)) => {
                    self.state = State::Opened(stream);
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
            State::Opened(stream) | State::Sounding(stream) => {
                let OpenStream { name, pulse, .. } = stream.held();
                let kind = S::KIND;
                let problem = if let Some(fault) = pulse.fault() {
                    format!("the {kind} {name} failed ({fault}); retrying")
                } else if self.deadline().is_some_and(|deadline| deadline <= now) {
                    let seconds = (now - pulse.moved()).as_secs();
                    let does = kind.moves();
                    format!("the {kind} {name} {does} no sound for {seconds} s; retrying")
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
                // Once the delay is reported, only the outcome matters, and that wakes the thread.
                self.problem.is_empty().then_some(*since + SLOW)
            }
            State::Opened(stream) => Some(stream.held().pulse.moved() + SLOW),
            State::Sounding(stream) => Some(stream.held().pulse.moved() + SILENT),
        }
    }

    fn start(&mut self) {
        let now = Instant::now();
        let (wanted, listener) = (self.wanted.clone(), self.listener.clone());
        match stream::open(wanted, self.host, listener, self.last.take()) {
            Ok((opening, closed)) => {
                self.last = Some(closed);
                self.state = State::Opening(opening, now);
            }
            Err(error) => self.fail(
                format!("cannot start a thread for the {} ({error})", S::KIND),
                now,
            ),
        }
    }

    /// Announces the device when its first sound has moved.
    fn greet(&mut self) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Opened(stream) if stream.held().pulse.has_moved() => {
                self.pause = FIRST_PAUSE;
                let OpenStream { name, host, .. } = stream.held();
                self.host = Some(*host);
                (self.report)(Report::Device(Some(name.clone())));
                self.state = State::Sounding(stream);
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

    fn leave(&mut self, state: State<S>) {
        if let State::Sounding(_) = std::mem::replace(&mut self.state, state) {
            (self.report)(Report::Device(None));
        }
    }

    fn set_problem(&mut self, problem: String) {
        if self.problem != problem {
            self.problem.clone_from(&problem);
            (self.report)(Report::Problem(problem));
        }
    }
}
