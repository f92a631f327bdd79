//! A word that was said.

use crate::config::Meaning;

/// A word that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Spotted {
    /// Its name: the file's, without the extension.
    pub word: String,
    /// Whether it wakes or halts.
    pub meaning: Meaning,
    /// The score of its model, 0 to 1.
    pub score: f32,
}
