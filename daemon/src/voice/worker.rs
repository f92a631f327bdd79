//! A thread of its own for sound, which gets orders and ends with its handle.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The handle of a thread that sleeps by parking, and takes orders of type `T`. Dropping it ends the thread:
/// its inbox is disconnected then.
pub struct Worker<T> {
    /// Always there; an option only so that it can be taken apart.
    running: Option<(Sender<T>, JoinHandle<()>)>,
}

/// Lets such a thread sleep until it is woken, or until the first of its deadlines.
pub fn sleep_until(deadlines: impl IntoIterator<Item = Option<Instant>>) {
    match deadlines.into_iter().flatten().min() {
        Some(deadline) => {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        None => thread::park(),
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread of that name, which does `work` with its inbox and never blocks but by parking.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(name: &str, work: impl FnOnce(Receiver<T>) + Send + 'static) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(inbox))?;
        let running = Some((orders, thread));
        Ok(Self { running })
    }
}

impl<T> Worker<T> {
    /// Gives it an order.
    pub fn order(&self, order: T) {
        if let Some((orders, _)) = &self.running {
            // A thread that ended, because nobody takes its reports, needs no orders.
            let _ = orders.send(order);
        }
        self.wake();
    }

    /// Lets it look up. Unparking a thread that is awake makes its next sleep return at once, so nothing is
    /// missed.
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
            // It never blocks, so this is quick. If it panicked, the panic was reported.
            let _ = thread.join();
        }
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}
