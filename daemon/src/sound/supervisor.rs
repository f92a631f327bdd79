//! A device with its [`Lifecycle`]: its stream, its reports, and the texts of its problems.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpal::HostId;

use super::device::Wanted;
use super::lifecycle::{Effect, Input, Lifecycle, SLOW};
use super::stream::{self, Closed, OpenStream, Opening, Streaming};

/// A change of a device that its user should know.
#[derive(Debug)]
pub enum Report {
    /// Name of the device that is now open and moves sound; `None` when it no longer does.
    Device(Option<String>),
    /// Why the wanted device is not open, and the remedy; `None` when solved.
    Problem(Option<String>),
}

/// One device, open or closed as wanted.
pub struct Supervisor<S> {
    wanted: Wanted,
    /// Unparked when the device needs attention.
    listener: Thread,
    report: Box<dyn Fn(Report) + Send>,
    lifecycle: Lifecycle,
    stream: Stream<S>,
    /// Sound system in which the default device was found. Retries stay with it: a restarted server must find the
    /// device free.
    host: Option<HostId>,
    /// The last stream that was opened, which may still hold the device.
    last: Option<Closed>,
    /// The last problem reported.
    problem: Option<String>,
}

enum Stream<S> {
    None,
    Opening(Opening<S>),
    Open(S),
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
            lifecycle: Lifecycle::new(),
            stream: Stream::None,
            host: None,
            last: None,
            problem: None,
        }
    }

    /// Starts to open the device, unless it is open, being opened or waiting for a retry.
    pub fn open(&mut self) {
        self.step(Instant::now(), Input::Open);
    }

    /// Closes the device.
    pub fn close(&mut self) {
        self.step(Instant::now(), Input::Close);
        self.set_problem(None);
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
        match &mut self.stream {
            Stream::Open(stream) => Some(stream),
            Stream::None | Stream::Opening(_) => None,
        }
    }

    /// Why the wanted device is not open.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// When to look again, if nothing wakes the thread before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.lifecycle.deadline()
    }

    /// Does what is due now and says what changed.
    pub fn look(&mut self, now: Instant) -> Option<Change> {
        match &self.stream {
            Stream::None => {
                self.step(now, Input::Passed);
                None
            }
            Stream::Opening(opening) => match opening.outcome() {
                Some(Ok(stream)) => {
                    self.stream = Stream::Open(stream);
                    self.step(now, Input::Opened);
                    Some(Change::Opened)
                }
                Some(Err(error)) => {
                    self.fail(now, error.to_string());
                    None
                }
                None => {
                    self.step(now, Input::Passed);
                    None
                }
            },
            Stream::Open(stream) => {
                let OpenStream { name, pulse, .. } = stream.held();
                if let Some(fault) = pulse.fault() {
                    let problem = format!("the {} {name} failed ({fault}); retrying", S::KIND);
                    self.fail(now, problem);
                } else {
                    let (moved, has_moved) = (pulse.moved(), pulse.has_moved());
                    self.step(now, Input::Seen { moved, has_moved });
                }
                matches!(self.stream, Stream::None).then_some(Change::Lost)
            }
        }
    }

    fn fail(&mut self, now: Instant, problem: String) {
        self.step(now, Input::Failed);
        self.set_problem(Some(problem));
    }

    fn step(&mut self, now: Instant, input: Input) {
        for effect in self.lifecycle.step(now, input) {
            match effect {
                Effect::Start => self.start(now),
                Effect::Close => self.stream = Stream::None,
                Effect::Found => self.greet(),
                Effect::Gone => (self.report)(Report::Device(None)),
                Effect::Slow => self.set_problem(Some(format!(
                    "the sound system has not answered for {} s; restart it",
                    SLOW.as_secs()
                ))),
                Effect::Silent(silence) => self.tell_silence(silence),
            }
        }
    }

    fn start(&mut self, now: Instant) {
        let (wanted, listener) = (self.wanted.clone(), self.listener.clone());
        match stream::open(wanted, self.host, listener, self.last.take()) {
            Ok((opening, closed)) => {
                self.last = Some(closed);
                self.stream = Stream::Opening(opening);
            }
            Err(error) => {
                let problem = format!("cannot start a thread for the {} ({error})", S::KIND);
                self.fail(now, problem);
            }
        }
    }

    /// Announces the device when its first sound has moved.
    fn greet(&mut self) {
        if let Stream::Open(stream) = &self.stream {
            let OpenStream { name, host, .. } = stream.held();
            self.host = Some(*host);
            (self.report)(Report::Device(Some(name.clone())));
            self.set_problem(None);
        }
    }

    fn tell_silence(&mut self, silence: Duration) {
        if let Stream::Open(stream) = &self.stream {
            let (kind, name) = (S::KIND, &stream.held().name);
            let (does, seconds) = (kind.moves(), silence.as_secs());
            let problem = format!("the {kind} {name} {does} no sound for {seconds} s; retrying");
            self.set_problem(Some(problem));
        }
    }

    fn set_problem(&mut self, problem: Option<String>) {
        if self.problem != problem {
            self.problem.clone_from(&problem);
            (self.report)(Report::Problem(problem));
        }
    }
}
