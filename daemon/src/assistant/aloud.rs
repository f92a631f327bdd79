//! An answer on its way to the loudspeaker.

use std::sync::Arc;

use crate::config::Config;
use crate::speak::{Speaking, Speech, SpeechError};

/// The answer on its way to the loudspeaker, if it is to be spoken.
pub struct Aloud {
    speech: Speech,
    config: Arc<Config>,
    utterance: u64,
    /// Begun with the first piece; or why it was not.
    speaking: Option<Result<Speaking, SpeechError>>,
}

impl Aloud {
    pub fn new(speech: Speech, config: Arc<Config>, utterance: u64) -> Self {
        Self {
            speech,
            config,
            utterance,
            speaking: None,
        }
    }

    /// Says this piece after those before.
    pub fn push(&mut self, piece: &str) {
        let Self {
            speech,
            config,
            speaking,
            ..
        } = self;
        if config.speech.enabled {
            let begin = || speech.answer(&config.speech);
            if let Ok(begun) = speaking.get_or_insert_with(begin) {
                begun.push(piece);
            }
        }
    }

    /// Waits until it was said; dropped before, it falls silent.
    pub async fn finish(self) {
        let Some(speaking) = self.speaking else {
            return;
        };
        let spoken = match speaking {
            Ok(speaking) => speaking.finish().await,
            Err(error) => Err(error),
        };
        match spoken {
            Ok(()) | Err(SpeechError::Stopped) => {}
            Err(error) => {
                log::warn!(utterance = self.utterance; "the answer was not spoken: {error}");
            }
        }
    }
}
