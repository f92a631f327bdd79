//! An answer on its way to the loudspeaker.

use std::sync::Arc;

use crate::config::Config;
use crate::speak::{Speaking, Speech, SpeechError, Spoken};

/// The answer on its way to the loudspeaker, if it is to be spoken.
pub struct Aloud {
    speech: Speech,
    config: Arc<Config>,
    utterance: u64,
    /// Its words that were spoken.
    spoken: Spoken,
    /// Begun with the first piece; or why it was not.
    speaking: Option<Result<Speaking, SpeechError>>,
}

impl Aloud {
    pub fn new(speech: Speech, config: Arc<Config>, utterance: u64) -> Self {
        Self {
            speech,
            config,
            utterance,
            spoken: Spoken::default(),
            speaking: None,
        }
    }

    /// Its words that were spoken, as they are.
    pub fn spoken(&self) -> &Spoken {
        &self.spoken
    }

    /// Says this piece after those before.
    pub fn push(&mut self, piece: &str) {
        let Self {
            speech,
            config,
            spoken,
            speaking,
            ..
        } = self;
        if config.speech.enabled {
            let begin = || speech.answer(&config.speech, spoken.clone());
            if let Ok(begun) = speaking.get_or_insert_with(begin) {
                begun.push(piece);
            }
        }
    }

    /// Waits until it was said; dropped before, it falls silent. Returns false if it was stopped: then it was heard as far as
    /// it was spoken.
    pub async fn finish(self) -> bool {
        let Some(speaking) = self.speaking else {
            return true;
        };
        let said = match speaking {
            Ok(speaking) => speaking.finish().await,
            Err(error) => Err(error),
        };
        match said {
            Ok(()) => true,
            Err(SpeechError::Stopped) => false,
            Err(error) => {
                log::warn!(utterance = self.utterance; "the answer was not spoken: {error}");
                true
            }
        }
    }
}
