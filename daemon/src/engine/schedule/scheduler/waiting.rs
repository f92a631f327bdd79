//! A question that waits for cells and a sequence.

use crate::engine::schedule::hearing::Recording;
use crate::engine::schedule::sequence::Job;

/// A question that waits for cells and a sequence.
pub enum Waiting {
    Typed(Job),
    Recording(Recording),
}
