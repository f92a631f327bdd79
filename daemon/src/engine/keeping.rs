//! What outlives a model: which is to be loaded next, and the preambles that each keeps in its KV cache.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Preamble;
use crate::config;
use crate::engine::schedule::scheduler::Kept;

/// A preamble, or none, and the number of the change that made it so.
pub(super) type Change = (u64, Option<Preamble>);

/// What is to be kept. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeping(Arc<Mutex<[Change; 2]>>, Arc<[AtomicUsize; 2]>);

impl Keeping {
    /// Keeps `change` for requests of this kind, unless a later one is there already.
    pub(super) fn put(&self, kept: Kept, change: Change) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut all[kept as usize];
        if change.0 >= held.0 {
            *held = change;
        }
    }

    /// The system text and the declarations of requests of this kind take so many tokens.
    pub(super) fn count(&self, kept: Kept, tokens: usize) {
        self.1[kept as usize].store(tokens, Ordering::Relaxed);
    }

    /// Tokens of the system text and the declarations of all requests.
    pub(super) fn counted(&self) -> usize {
        self.1.iter().map(|it| it.load(Ordering::Relaxed)).sum()
    }

    /// What is kept for requests of this kind.
    pub(super) fn of(&self, kept: Kept) -> Change {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[kept as usize].clone()
    }
}

/// The model that is to be loaded next. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Wanted(Arc<Mutex<config::Model>>);

impl Wanted {
    pub(super) fn new(model: &config::Model) -> Self {
        Self(Arc::new(Mutex::new(model.clone())))
    }

    pub(super) fn put(&self, model: &config::Model) {
        model.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn get(&self) -> config::Model {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
