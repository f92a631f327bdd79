//! The word to stop, where the engine's work can see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether work is to end. Clones are the same word.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says it.
    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was said.
    pub(super) fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// For callbacks of C. Valid as long as `self` or a clone.
    pub(super) fn flag(&self) -> *const AtomicBool {
        Arc::as_ptr(&self.0)
    }
}
