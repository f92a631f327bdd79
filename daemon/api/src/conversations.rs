//! `org.gemmad1.Conversations`: the caller's typed conversations.

use serde::{Deserialize, Serialize};
use zbus::{OwnedVariant, Type, Variant, proxy};

use crate::{Dict, Error};

/// A conversation in a list. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversationInfo {
    /// Its name.
    pub name: String,
    /// Number of its exchanges: questions with their answers.
    pub exchanges: u64,
    /// Length of its text, in bytes.
    pub bytes: u64,
    /// When it was used last, in seconds since 1970-01-01 00:00 UTC.
    pub used: u64,
}

/// Whose a message is. On the bus the lower-case word.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Type, Variant, OwnedVariant,
)]
#[zbus(signature = "s", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user's.
    #[default]
    User,
    /// The model's.
    Assistant,
}

/// A message of a conversation, as `Read` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// Its text.
    pub text: String,
}

/// The conversations of the calling user. Nobody else sees them. `Ask` and `Stream` begin them and go on with them, by the
/// option `conversation`.
#[proxy(
    interface = "org.gemmad1.Conversations",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1/conversations"
)]
pub trait Conversations {
    /// The caller's conversations, the one used last first; see [`ConversationInfo`].
    fn list(&self) -> Result<Vec<Dict>, Error>;

    /// The messages of a conversation, the oldest first. Exchanges that were forgotten because it grew too long are missing.
    fn read(&self, name: &str) -> Result<Vec<Message>, Error>;

    /// Forgets a conversation. An answer under way goes on, and is not remembered.
    fn forget(&self, name: &str) -> Result<(), Error>;

    /// Forgets all of the caller's conversations, and returns their number.
    fn forget_all(&self) -> Result<u32, Error>;
}
