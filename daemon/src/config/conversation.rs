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
    /// Time without a spoken turn after which the conversation of the room is forgotten. 0: spoken turns remember nothing.
    pub quiet_ms: Bounded<0, 86_400_000>,
    /// Whether conversations outlast a restart. If not, they are in memory only.
    pub keep: bool,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            most: Bounded(16),
            forget_h: Bounded(168),
            quiet_ms: Bounded(300_000),
            keep: false,
        }
    }
}
