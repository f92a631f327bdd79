//! CPU-bound work on a client's input, away from the thread that serves the bus.
//!
//! Parsing, tokenising and decoding take milliseconds to seconds. On the async runtime they would hold up all
//! calls, `Halt` and `State` among them; on tokio's own pool hundreds of them could run at once. Here one job for
//! each core runs at a time, and the others wait in order of arrival. A caller takes its place and limits its input
//! first, so the waiting jobs are limited too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use tokio::sync::{Semaphore, oneshot};

/// Jobs that run at a time, where the system does not report its number of cores.
const CORES: usize = 2;

/// A job, which sends its result to its caller.
type Job = Box<dyn FnOnce() + Send>;

/// The threads that work. Their number is fixed, because the allocator keeps memory for each thread that ever used it.
struct Workers {
    jobs: Sender<Job>,
    /// One permit for each job that may run. A job is sent only with a permit, so the job of a caller that left never
    /// begins.
    turns: Arc<Semaphore>,
}

static WORKERS: LazyLock<Workers> = LazyLock::new(Workers::start);

/// The job panicked. The panic was reported, with its place, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("gemmad failed on this input; this is a fault of gemmad")]
pub struct Panicked;

/// Runs `job` on one of the threads for work, when its turn comes. If the future is dropped before, the job never runs;
/// if later, it runs to its end and its result is discarded.
///
/// # Errors
/// When it panics, or the system has no thread to give.
pub async fn run<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let Workers { jobs, turns } = &*WORKERS;
    // The semaphore is never closed.
    let turn = Arc::clone(turns).acquire_owned().await;
    let turn = turn.map_err(|_| Panicked)?;
    let (result, done) = oneshot::channel();
    let job = move || {
        let ran = catch_unwind(AssertUnwindSafe(job));
        drop(turn);
        // The caller may have left.
        let _ = result.send(ran.map_err(|_| Panicked));
    };
    // If no thread could be started, the job is dropped, and with it the sender of its result.
    let _ = jobs.send(Box::new(job));
    done.await.unwrap_or(Err(Panicked))
}

impl Workers {
    fn start() -> Self {
        let (jobs, waiting) = channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        let cores = available_parallelism().map_or(CORES, std::num::NonZero::get);
        let begin = |nth: usize| {
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name(format!("work-{nth}"));
            thread.spawn(move || work(&waiting))
        };
        let threads = (0..cores).filter_map(|nth| begin(nth).ok()).count();
        Self {
            jobs,
            turns: Arc::new(Semaphore::new(threads.max(1))),
        }
    }
}

/// Runs one job after the other.
fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting for a job, not while running it. No code panics under it.
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_jobs_run_at_a_time_than_there_are_cores_and_all_get_their_turn() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..50)
            .map(|_| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                tokio::spawn(run(move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                    running.fetch_sub(1, SeqCst);
                }))
            })
            .collect();
        for job in jobs {
            assert_eq!(job.await.unwrap(), Ok(()));
        }
        let cores = available_parallelism().unwrap().get();
        assert!(most.load(SeqCst) <= cores, "{most:?}");
    }

    #[tokio::test]
    async fn a_job_that_panics_is_an_error_and_gives_its_turn_back() {
        for _ in 0..100 {
            let failed = run(|| panic!("on purpose")).await;
            assert_eq!(failed, Err::<(), _>(Panicked));
        }
        assert_eq!(run(|| 1).await, Ok(1));
    }
}
