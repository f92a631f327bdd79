//! Putting a changed configuration into force everywhere, on SIGHUP or `Manager.Reload`.

use crate::config::{ConfigError, Reloaded, Settings};
use crate::engine::Engine;
use crate::platform::{logging, systemd};
use crate::voice::Voice;

/// Everything a reload reaches.
#[derive(Debug, Clone)]
pub struct Reloader {
    settings: Settings,
    engine: Engine,
    voice: Voice,
}

impl Reloader {
    /// Reloads `settings`, for this engine and this voice.
    #[must_use]
    pub fn new(settings: Settings, engine: Engine, voice: Voice) -> Self {
        Self {
            settings,
            engine,
            voice,
        }
    }

    /// Reads the configuration file again and puts what changed into force.
    ///
    /// # Errors
    /// When the file does not fit; everything stays as it is then.
    pub fn reload(&self) -> Result<Reloaded, ConfigError> {
        let phase = self.engine.phase().borrow().clone();
        systemd::reloading(&phase);
        let reloaded = self.settings.reload();
        match &reloaded {
            Ok(reloaded) => {
                self.apply(reloaded);
                log::info!(
                    event = "reloaded", changed = reloaded.changed.join(" "),
                    pending = reloaded.pending.join(" ");
                    "configuration reloaded{}", waiting(reloaded)
                );
            }
            Err(error) => log::error!("the configuration stays as it was: {error}"),
        }
        systemd::reloaded(&phase, reloaded.is_err());
        reloaded
    }

    fn apply(&self, reloaded: &Reloaded) {
        let config = self.settings.current();
        let touches = |prefix: &str| reloaded.changed.iter().any(|key| key.starts_with(prefix));
        if touches("log.") {
            logging::set_level(config.log.level);
        }
        if touches("answer.system") {
            self.engine.keep_prompt(&config.answer.system);
        }
        if touches("voice.") {
            self.voice.configure();
        }
    }
}

fn waiting(reloaded: &Reloaded) -> String {
    match reloaded.pending.as_slice() {
        [] => String::new(),
        keys => format!("; restart gemmad for {}", keys.join(", ")),
    }
}
