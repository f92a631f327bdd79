//! The configuration in force, and how it changes while the daemon runs.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Config, ConfigError};

/// The configuration in force. Clones share it.
#[derive(Debug, Clone)]
pub struct Settings {
    path: Arc<PathBuf>,
    current: watch::Sender<Arc<Config>>,
}

/// A part of the daemon that follows changes of the configuration.
pub trait Follow {
    /// Puts the changes between two configurations into force, as far as they concern this part.
    fn follow(&self, before: &Config, after: &Config);
}

/// The changes that a reload found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys, as `section.key`, whose new values are in force.
    pub changed: Vec<String>,
    /// Keys whose new values come into force when the daemon is restarted.
    pub pending: Vec<String>,
}

impl Settings {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn load(path: PathBuf) -> Result<Self, ConfigError> {
        let config = Config::load(&path)?;
        Ok(Self {
            path: Arc::new(path),
            current: watch::Sender::new(Arc::new(config)),
        })
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        Arc::clone(&self.current.borrow())
    }

    /// Reads the file again; nothing of it is in force yet.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path)
    }

    /// Puts the configuration read from the file into force. The keys of `[engine]` stay as they are.
    #[must_use = "it says what changed"]
    pub fn put(&self, file: &Config) -> Reloaded {
        let before = self.current();
        let after = Config {
            engine: before.engine.clone(),
            ..file.clone()
        };
        let reloaded = Reloaded {
            changed: before.differences(&after),
            pending: after.differences(file),
        };
        self.current.send_replace(Arc::new(after));
        reloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reload(settings: &Settings) -> Result<Reloaded, ConfigError> {
        settings.read().map(|file| settings.put(&file))
    }

    #[test]
    fn a_reload_names_what_changed_and_what_waits_for_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gemmad.toml");
        std::fs::write(&path, "[answer]\nmax_tokens = 100\n").unwrap();
        let settings = Settings::load(path.clone()).unwrap();
        assert_eq!(reload(&settings).unwrap(), Reloaded::default());

        let text = "[answer]\nmax_tokens = 200\n[engine]\ncontext = 1024\n[voice]\nopen = 0.7\n";
        std::fs::write(&path, text).unwrap();
        let reloaded = reload(&settings).unwrap();
        assert_eq!(reloaded.changed, ["answer.max_tokens", "voice.open"]);
        assert_eq!(reloaded.pending, ["engine.context"]);
        let current = settings.current();
        assert_eq!(current.answer.max_tokens.get(), 200);
        assert_eq!(current.engine.context.get(), 4096);
        assert_eq!(reload(&settings).unwrap().pending, ["engine.context"]);
    }

    #[test]
    fn a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gemmad.toml");
        std::fs::write(&path, "[answer]\nmax_tokens = 100\n").unwrap();
        let settings = Settings::load(path.clone()).unwrap();
        std::fs::write(&path, "[answer]\nmax_tokens = 0\n").unwrap();
        assert!(reload(&settings).is_err());
        assert_eq!(settings.current().answer.max_tokens.get(), 100);
    }
}
