//! The rooms of the daemon that the objects lead to.

use crate::assistant::Voice;
use crate::commands::Commands;
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
    /// Listens and speaks.
    pub voice: Voice,
    /// Carries out commands.
    pub commands: Commands,
    /// Reads the configuration again.
    pub reloader: Reloader,
}
