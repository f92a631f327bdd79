//! The stop flag that the engine's work checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether work is to end. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Sets the flag.
    pub(super) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is set.
    pub(super) fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag for C callbacks. Valid as long as `self` or a clone.
    pub(super) fn flag(&self) -> *const AtomicBool {
        Arc::as_ptr(&self.0)
    }
}
