//! The threads that compute, shared by the text model and the audio encoder.
//!
//! One batch or one piece of sound is computed at a time, on the engine thread and the workers of this
//! pool. Between two of them the workers sleep: ggml's default, to spin for a while in case more work
//! comes, would burn a core during every utterance.
//!
//! Within one, ggml's threads wait for each other after every operation, a thousand times a batch, and
//! they spin. That is right while each has a core. When one has none, all wait until the system lets it
//! run again, milliseconds each time. So on a crowded machine fewer threads compute, until it is calm
//! again ([`Crowd`]).

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as sys;
use rustix::time::{ClockId, clock_gettime};

use super::cpu::Cpu;
use crate::engine::stop::Stop;

/// A pool of threads.
#[derive(Debug)]
pub(in crate::engine) struct Threads {
    cpu: &'static Cpu,
    pool: NonNull<sys::ggml_threadpool>,
    crowd: Mutex<Crowd>,
    stop: Stop,
}

// SAFETY: a pool is tied to no thread; ggml guards its own state.
unsafe impl Send for Threads {}
// SAFETY: `&Threads` only yields the pointer; those who compute with it do so one at a time, because
// they are on the engine thread (or, in tests, have pools of their own).
unsafe impl Sync for Threads {}

impl Threads {
    /// Starts a pool that computes with `count` threads, the calling one included, until `stop` is set.
    ///
    /// # Errors
    /// When the system has no threads to give.
    pub(in crate::engine) fn start(count: i32, stop: Stop) -> Result<Arc<Self>, String> {
        let cpu = Cpu::get()?;
        // SAFETY: plain default values; `poll` 0: workers wait for work asleep.
        let pool = unsafe {
            let mut params = sys::ggml_threadpool_params_default(count);
            params.poll = 0;
            (cpu.new_threads)(&raw mut params)
        };
        let pool = NonNull::new(pool).ok_or("no threads could be started")?;
        let crowd = Mutex::new(Crowd::new(count));
        Ok(Arc::new(Self {
            cpu,
            pool,
            crowd,
            stop,
        }))
    }

    /// A pool of `count` threads that is never stopped.
    #[cfg(test)]
    pub(in crate::engine) fn of(count: i32) -> Arc<Self> {
        Self::start(count, Stop::default()).unwrap()
    }

    /// The flag that ends a computation.
    pub(in crate::engine) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The CPU they run on.
    pub(in crate::engine) fn cpu(&self) -> &'static Cpu {
        self.cpu
    }

    /// For ggml. Valid as long as `self`.
    pub(in crate::engine) fn raw(&self) -> sys::ggml_threadpool_t {
        self.pool.as_ptr()
    }

    /// Runs `compute` with the number of threads it is to use, and notes whether they had cores to run on.
    pub(in crate::engine) fn run<T>(&self, compute: impl FnOnce(i32) -> T) -> T {
        let count = self.crowd().now;
        let (started, before) = (Instant::now(), processor_time());
        let result = compute(count);
        let ran = processor_time().saturating_sub(before);
        self.crowd().note(started.elapsed(), ran, free_cores);
        result
    }

    fn crowd(&self) -> std::sync::MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: made by `start`, freed once, after everything that computes with it.
        unsafe { (self.cpu.free_threads)(self.pool.as_ptr()) }
    }
}

/// Minimum duration of a run that is noted; shorter runs say nothing about the machine.
const SHORTEST: Duration = Duration::from_millis(3);

/// Minimum processor time of a run, as a share of its duration times its threads. Threads spin while they wait
/// for each other, so with a core for each the share is nearly 1.
const LEAST_SHARE: f64 = 0.85;

/// Consecutive runs with a free core for every thread before all threads are used again.
const CALM: u32 = 16;

/// How many threads have a core to run on.
#[derive(Debug)]
struct Crowd {
    most: i32,
    now: i32,
    calm: u32,
}

impl Crowd {
    fn new(most: i32) -> Self {
        Self {
            most,
            now: most,
            calm: 0,
        }
    }

    /// Notes a run that lasted `time` and took `ran` of processor time. `free` returns the number of cores
    /// that no other thread uses.
    fn note(&mut self, time: Duration, ran: Duration, free: impl FnOnce() -> i32) {
        if time < SHORTEST || self.most == 1 {
            return;
        }
        let share = ran.div_duration_f64(time) / f64::from(self.now);
        if self.now > 1 && share < LEAST_SHARE {
            self.now = free().clamp(1, self.now - 1);
            self.calm = 0;
            log::debug!(threads = self.now; "the machine is busy");
        } else if self.now < self.most {
            self.calm = if free() >= self.most {
                self.calm + 1
            } else {
                0
            };
            if self.calm == CALM {
                *self = Self::new(self.most);
                log::debug!(threads = self.now; "the machine is calm again");
            }
        }
    }
}

/// Processor time of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanoseconds)
}

/// Cores that no other thread wants at this moment: those the process may use, less the threads that are
/// running or could run (the fourth field of /proc/loadavg, proc(5)), of which this is one.
fn free_cores() -> i32 {
    let cores = std::thread::available_parallelism()
        .map_or(1, |cores| i32::try_from(cores.get()).unwrap_or(i32::MAX));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running = load.split(' ').nth(3).and_then(|it| it.split('/').next());
    let running = running.and_then(|it| it.parse().ok()).unwrap_or(1);
    cores.saturating_sub(i32::max(running, 1) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(100);

    #[test]
    fn threads_that_cannot_run_are_left_out_until_the_machine_is_calm() {
        let mut crowd = Crowd::new(4);
        crowd.note(TIME, TIME * 4, || unreachable!());
        assert_eq!(crowd.now, 4);
        crowd.note(TIME, TIME * 3, || 2);
        assert_eq!(crowd.now, 2);
        // Two of them still share a core.
        crowd.note(TIME, TIME + TIME / 2, || 2);
        assert_eq!(crowd.now, 1);
        for _ in 0..CALM - 1 {
            crowd.note(TIME, TIME, || 4);
        }
        crowd.note(TIME, TIME, || 3);
        assert_eq!(crowd.now, 1);
        for _ in 0..CALM {
            crowd.note(TIME, TIME, || 4);
        }
        assert_eq!(crowd.now, 4);
    }

    #[test]
    fn short_runs_and_a_pool_of_one_say_nothing() {
        let mut crowd = Crowd::new(4);
        crowd.note(SHORTEST / 2, Duration::ZERO, || unreachable!());
        assert_eq!(crowd.now, 4);
        let mut alone = Crowd::new(1);
        alone.note(TIME, TIME / 2, || unreachable!());
        assert_eq!(alone.now, 1);
    }

    #[test]
    fn somebody_who_computes_on_every_core_leaves_none_free() {
        let cores = std::thread::available_parallelism().unwrap().get();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 * cores {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let patience = Instant::now();
            while free_cores() > 0 && patience.elapsed().as_secs() < 10 {
                std::thread::yield_now();
            }
            let free = free_cores();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(free <= 0, "{free} cores are free");
        });
    }
}
