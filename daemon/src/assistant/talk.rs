//! What commands can do with the conversation of the spoken turns, and with the voice that answers in it.

use std::sync::Arc;

use tokio::sync::Notify;

use super::room::Shared;
use crate::commands;
use crate::config::Settings;
use crate::speak::Volume;

/// The conversation of the spoken turns, and the volume of the voice that answers in it. Clones share both.
#[derive(Debug, Clone)]
pub struct Talk {
    pub(super) room: Shared,
    pub(super) volume: Volume,
    /// Told when all is to be forgotten.
    pub(super) forgotten: Arc<Notify>,
    settings: Settings,
}

impl Talk {
    /// One in which nothing was said.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            room: Shared::default(),
            volume: Volume::default(),
            forgotten: Arc::default(),
            settings,
        }
    }
}

impl commands::Talk for Talk {
    fn last(&self) -> Option<String> {
        let room = self.room.lock();
        let said = room.said();
        (!said.is_empty()).then(|| said.to_owned())
    }

    fn forget(&self) {
        self.room.lock().forget();
        self.forgotten.notify_one();
    }

    fn volume(&self) -> f32 {
        let config = self.settings.current();
        self.volume.instead_of(config.speech.volume)
    }

    fn set_volume(&self, volume: f32) {
        self.volume.set(volume);
    }
}
