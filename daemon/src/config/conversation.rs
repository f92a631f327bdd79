//! `[conversation]`.

use serde::{Deserialize, Serialize};

use super::Bounded;

/// `[conversation]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conversation {
    /// Most conversations of a user. One more takes the place of the one that was used longest ago. 0: there are none.
    pub most: Bounded<0, 256>,
    /// Hours without use after which a conversation is forgotten.
    pub forget_h: Bounded<1, 8760>,
    /// Whether conversations outlast a restart. If not, they are in memory only.
    pub keep: bool,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            most: Bounded(16),
            forget_h: Bounded(168),
            keep: false,
        }
    }
}
