//! How far a speech has come.

use std::sync::{Arc, Mutex, PoisonError};

/// The words of a speech whose sound has begun to be played, in whole sentences. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Spoken(Arc<Mutex<String>>);

impl Spoken {
    /// Adds a sentence that begins.
    pub(crate) fn begin(&self, sentence: &str) {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !words.is_empty() && !sentence.is_empty() {
            words.push(' ');
        }
        words.push_str(sentence);
    }

    /// The words so far.
    #[must_use]
    pub fn words(&self) -> String {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.clone()
    }
}
