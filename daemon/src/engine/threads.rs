//! The threads that compute, shared by the text model and the audio encoder.
//!
//! One batch or one piece of sound is computed at a time, on the engine thread and the workers of this
//! pool. Between two of them the workers sleep: ggml's default, to spin for a while in case more work
//! comes, would burn a core whenever somebody speaks.

use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

/// A pool of threads.
#[derive(Debug)]
pub(super) struct Threads {
    pool: NonNull<sys::ggml_threadpool>,
    count: i32,
}

// SAFETY: a pool is tied to no thread; ggml guards its own state.
unsafe impl Send for Threads {}
// SAFETY: `&Threads` only yields the pointer; those who compute with it do so one at a time, because
// they are on the engine thread (or, in tests, have pools of their own).
unsafe impl Sync for Threads {}

impl Threads {
    /// Starts a pool that computes with `count` threads, the one that asks included.
    ///
    /// # Errors
    /// When the system has no threads to give.
    pub(super) fn start(count: i32) -> Result<Arc<Self>, String> {
        // SAFETY: plain default values; `poll` 0: workers wait for work asleep.
        let pool = unsafe {
            let mut params = sys::ggml_threadpool_params_default(count);
            params.poll = 0;
            sys::ggml_threadpool_new(&raw mut params)
        };
        NonNull::new(pool)
            .map(|pool| Arc::new(Self { pool, count }))
            .ok_or_else(|| "no threads could be started".into())
    }

    /// How many they are.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    /// For ggml. Valid as long as `self`.
    pub(super) fn raw(&self) -> sys::ggml_threadpool_t {
        self.pool.as_ptr()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: made by `start`, freed once, after everything that computes with it.
        unsafe { sys::ggml_threadpool_free(self.pool.as_ptr()) }
    }
}
