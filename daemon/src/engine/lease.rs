//! Leases of the loaded model.
//!
//! A model that is to go stays until the last lease ends. Work for it is sent under a lease, so none arrives later.

use std::ops::Deref;
use std::sync::{Arc, mpsc};

use super::phase::Ready;
use crate::engine::schedule::scheduler::Work;

/// A model that stays while this is held.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    // The order of fields is the order of dropping: the end is told last.
    ready: Ready,
    _stay: Arc<()>,
    _end: End,
}

impl Lease {
    /// A lease of `ready`, whose end is told by `work`; `None` if that model has gone.
    pub(super) fn of(ready: Ready, work: &mpsc::Sender<Work>) -> Option<Self> {
        let stay = ready.stay.upgrade()?;
        Some(Self {
            ready,
            _stay: stay,
            _end: End(work.clone()),
        })
    }
}

impl Deref for Lease {
    type Target = Ready;

    fn deref(&self) -> &Ready {
        &self.ready
    }
}

/// Tells the engine thread that a lease has ended.
#[derive(Debug, Clone)]
struct End(mpsc::Sender<Work>);

impl Drop for End {
    fn drop(&mut self) {
        // A thread that is gone has no model.
        let _ = self.0.send(Work::Released);
    }
}
