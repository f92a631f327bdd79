//! A thread for sound. It takes orders, begins anew after a panic, and ends with its handle.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

/// Most panics within [`PERIOD`] after which a worker begins anew. One more ends it.
const RESTARTS: usize = 3;

/// Time for which a panic counts.
const PERIOD: Duration = Duration::from_mins(1);

/// The consequence of a worker's panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The worker begins anew. Its state is lost, but not the orders that it had not taken yet.
    Restarted,
    /// The worker has panicked too often and takes no orders any more.
    GivenUp,
}

/// The handle of a thread that sleeps by parking, and takes orders of type `T`. Dropping it disconnects the inbox,
/// which ends the thread, and waits for that.
pub struct Worker<T> {
    /// Always `Some` until it is dropped.
    running: Option<(Sender<T>, JoinHandle<()>)>,
}

/// Lets a worker's thread sleep until it is woken, or until the earliest of `deadlines`.
pub fn sleep_until(deadlines: impl IntoIterator<Item = Option<Instant>>) {
    match deadlines.into_iter().flatten().min() {
        Some(deadline) => {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        None => thread::park(),
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread called `name`, which does `work` with its inbox. `work` must never block except by parking. When
    /// it panics, `crashed` is called, and `work` is begun again with the same inbox, up to [`RESTARTS`] times within
    /// [`PERIOD`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(
        name: &'static str,
        work: impl FnMut(Rc<Receiver<T>>) + Send + 'static,
        crashed: impl FnMut(Crash) + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || supervise(name, &Rc::new(inbox), work, crashed))?;
        let running = Some((orders, thread));
        Ok(Self { running })
    }
}

/// Does the work until it ends by itself, or has panicked too often.
fn supervise<T>(
    name: &str,
    inbox: &Rc<Receiver<T>>,
    mut work: impl FnMut(Rc<Receiver<T>>),
    mut crashed: impl FnMut(Crash),
) {
    let mut panics = Panics::default();
    // Unwind safety: state that a panic leaves half changed is dropped with `work`'s own; only channels outlive it.
    while panic::catch_unwind(AssertUnwindSafe(|| work(Rc::clone(inbox)))).is_err() {
        let crash = panics.add(Instant::now());
        match crash {
            Crash::Restarted => log::error!("the {name} thread panicked and begins anew"),
            Crash::GivenUp => log::error!(
                "the {name} thread panicked {} times within {} s and is given up",
                RESTARTS + 1,
                PERIOD.as_secs()
            ),
        }
        crashed(crash);
        if crash == Crash::GivenUp {
            return;
        }
    }
}

/// The times of the panics within [`PERIOD`].
#[derive(Debug, Default)]
struct Panics(VecDeque<Instant>);

impl Panics {
    /// Counts a panic and decides its consequence.
    fn add(&mut self, now: Instant) -> Crash {
        self.0.retain(|&at| now.duration_since(at) < PERIOD);
        self.0.push_back(now);
        if self.0.len() > RESTARTS {
            Crash::GivenUp
        } else {
            Crash::Restarted
        }
    }
}

impl<T> Worker<T> {
    /// Sends an order and wakes the thread.
    pub fn order(&self, order: T) {
        if let Some((orders, _)) = &self.running {
            // A thread that has ended takes no orders.
            let _ = orders.send(order);
        }
        self.wake();
    }

    /// Wakes the thread. Unparking a thread that is awake makes its next sleep return at once, so no wake-up
    /// is lost.
    pub fn wake(&self) {
        if let Some((_, thread)) = &self.running {
            thread.thread().unpark();
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        if let Some((orders, thread)) = self.running.take() {
            drop(orders);
            thread.thread().unpark();
            // The thread never blocks, so this is quick.
            let _ = thread.join();
        }
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::TryRecvError;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Orders for the worker of these tests.
    enum Order {
        Count,
        Panic,
    }

    /// Reports of that worker.
    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        /// The orders it has counted since it began.
        Counted(u32),
        Crashed(Crash),
    }

    /// A worker that counts, and panics when it is told to.
    fn counting() -> (Worker<Order>, Receiver<Told>) {
        let (told, tellings) = mpsc::channel();
        let report = told.clone();
        let work = move |inbox: Rc<Receiver<Order>>| {
            let mut count = 0;
            loop {
                match inbox.try_recv() {
                    Ok(Order::Count) => {
                        count += 1;
                        told.send(Told::Counted(count)).unwrap();
                    }
                    Ok(Order::Panic) => panic!("as ordered"),
                    Err(TryRecvError::Empty) => sleep_until([]),
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        };
        let crashed = move |crash| report.send(Told::Crashed(crash)).unwrap();
        (Worker::spawn("counting", work, crashed).unwrap(), tellings)
    }

    fn next(tellings: &Receiver<Told>) -> Told {
        tellings.recv_timeout(PATIENCE).expect("told in time")
    }

    #[test]
    fn a_worker_that_panics_says_so_begins_anew_and_loses_no_order() {
        let (worker, tellings) = counting();
        for order in [Order::Count, Order::Count, Order::Panic, Order::Count] {
            worker.order(order);
        }
        assert_eq!(next(&tellings), Told::Counted(1));
        assert_eq!(next(&tellings), Told::Counted(2));
        assert_eq!(next(&tellings), Told::Crashed(Crash::Restarted));
        assert_eq!(next(&tellings), Told::Counted(1));
        drop(worker);
        assert!(tellings.recv_timeout(PATIENCE).is_err());
    }

    #[test]
    fn a_worker_that_panics_again_and_again_says_so_and_ends() {
        let (worker, tellings) = counting();
        for _ in 0..=RESTARTS {
            worker.order(Order::Panic);
        }
        worker.order(Order::Count);
        for _ in 0..RESTARTS {
            assert_eq!(next(&tellings), Told::Crashed(Crash::Restarted));
        }
        assert_eq!(next(&tellings), Told::Crashed(Crash::GivenUp));
        // The worker is gone, and with it the sender of its reports.
        assert_eq!(
            tellings.recv_timeout(PATIENCE),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        worker.order(Order::Count);
    }

    #[test]
    fn a_panic_counts_for_a_minute() {
        let mut panics = Panics::default();
        let start = Instant::now();
        for nth in 0..10 {
            let now = start + PERIOD / 3 * nth;
            assert_eq!(panics.add(now), Crash::Restarted, "the {nth}th");
        }
        let now = start + PERIOD / 3 * 9;
        assert_eq!(panics.add(now), Crash::GivenUp);
    }
}
