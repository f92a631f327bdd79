//! The rooms of the daemon that the objects lead to.

use crate::assistant::{Conversations, Voice};
use crate::commands::Commands;
use crate::commands::timers::Timers;
use crate::config::Settings;
use crate::engine::Engine;
use crate::reload::Reloader;

/// The rooms that the objects serve.
#[derive(Debug, Clone)]
pub struct Rooms {
    /// The configuration in force.
    pub settings: Settings,
    /// Answers questions.
    pub engine: Engine,
    /// Remembers typed conversations.
    pub conversations: Conversations,
    /// Timers and alarms.
    pub timers: Timers,
    /// Listens and speaks.
    pub voice: Voice,
    /// Carries out commands.
    pub commands: Commands,
    /// Reads the configuration again.
    pub reloader: Reloader,
}
