//! Putting a changed configuration into force everywhere, on SIGHUP or `Manager.Reload`.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::assistant::{Conversations, Voice};
use crate::commands::{CatalogueError, Commands};
use crate::config::{Config, ConfigError, Follow, Reloaded, Settings};
use crate::engine::{self, Engine, LoadError};
use crate::service;

/// Why nothing was reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration file is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The catalogue of commands is not valid.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The model that it names cannot be loaded.
    #[error(transparent)]
    Model(#[from] LoadError),
    /// The daemon ends before the files were read.
    #[error("the daemon is stopping")]
    Stopping,
}

/// The level of the log.
struct LogLevel;

impl Follow for LogLevel {
    fn follow(&self, before: &Config, after: &Config) {
        if before.log.level != after.log.level {
            log::set_max_level(after.log.level.into());
        }
    }
}

/// The handles of everything that a reload changes.
#[derive(Debug, Clone)]
pub struct Reloader {
    settings: Settings,
    engine: Engine,
    voice: Voice,
    commands: Commands,
    conversations: Conversations,
    /// Locked from before the files are read until they are in force, so that the newest files win.
    turn: Arc<Mutex<()>>,
}

impl Reloader {
    /// A reloader of `settings` that informs these parts.
    #[must_use]
    pub fn new(
        settings: Settings,
        engine: Engine,
        voice: Voice,
        commands: Commands,
        conversations: Conversations,
    ) -> Self {
        Self {
            settings,
            engine,
            voice,
            commands,
            conversations,
            turn: Arc::default(),
        }
    }

    /// Reads the configuration file and the catalogue of commands again, and puts the changes into force, one reload
    /// after the other. It runs on a thread that files may block, and to its end even if the future is dropped.
    ///
    /// # Errors
    /// When one of the files is not valid; then everything stays as it is.
    pub async fn reload(self) -> Result<Reloaded, ReloadError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let reloading = tokio::task::spawn_blocking(move || {
            let reloaded = self.reload_now();
            drop(turn);
            reloaded
        });
        // It fails only at the daemon's end, or by a panic, which was reported.
        reloading.await.unwrap_or(Err(ReloadError::Stopping))
    }

    fn reload_now(&self) -> Result<Reloaded, ReloadError> {
        let phase = self.engine.phase().borrow().clone();
        service::reloading(&phase);
        let reloaded = self.put();
        match &reloaded {
            Ok(reloaded) => {
                log::info!(
                    event = "reloaded", changed = reloaded.changed.join(" "),
                    pending = reloaded.pending.join(" ");
                    "configuration reloaded{}", waiting(reloaded)
                );
            }
            Err(error) => log::error!("the configuration stays as it was: {error}"),
        }
        service::reloaded(&phase, reloaded.is_err());
        reloaded
    }

    /// Reads all files before it puts any of them into force.
    fn put(&self) -> Result<Reloaded, ReloadError> {
        let before = self.settings.current();
        let file = self.settings.read()?;
        let catalogue = Commands::read(&file.commands)?;
        let has_new_files = self.engine.has_new_files();
        if file.model != before.model || has_new_files {
            engine::check_files(&file.model)?;
        }
        let mut reloaded = self.settings.put(&file);
        // Another file under the same name counts as a change of the key that names it.
        if has_new_files && file.model == before.model {
            reloaded.changed.push("model.text".into());
        }
        // A change of the catalogue's files counts as a change of the key that names their folders.
        let folders = "commands.folders";
        let is_new = !self.commands.has(catalogue.as_ref());
        if is_new && !reloaded.changed.iter().any(|key| key == folders) {
            reloaded.changed.push(folders.into());
        }
        self.commands.put(catalogue);
        let after = self.settings.current();
        let parts: [&dyn Follow; 4] = [&LogLevel, &self.engine, &self.voice, &self.conversations];
        for part in parts {
            part.follow(&before, &after);
        }
        Ok(reloaded)
    }
}

fn waiting(reloaded: &Reloaded) -> String {
    match reloaded.pending.as_slice() {
        [] => String::new(),
        keys => format!("; restart gemmad for {}", keys.join(", ")),
    }
}
