//! Sound files that clients pass, as descriptors.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use gemmad_api::Error;
use tokio::sync::Semaphore;

use super::clients::Hold;
use super::refusal;
use crate::engine::{Clip, EngineError};
use crate::sound::file::decode;

/// Most files that are read and decoded at the same time. Each takes memory meanwhile.
const AT_ONCE: usize = 2;

/// Longest reading and decoding of a file. Decoding half a minute of sound takes a second. A file on a network, or of a
/// file system in user space, may never arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads sound files, a few at a time.
#[derive(Debug, Clone)]
pub(super) struct Sounds(Arc<Semaphore>);

impl Default for Sounds {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Sounds {
    /// Decodes the file behind `descriptor`.
    ///
    /// The thread that reads it shares `hold`, so that a thread that waits for a file for ever stays counted.
    ///
    /// # Errors
    /// When it is no regular file, no sound, or cannot be read within 30 s.
    pub(super) async fn hear(
        &self,
        descriptor: OwnedFd,
        hold: Arc<Hold>,
    ) -> Result<Arc<Clip>, Error> {
        // The semaphore is closed only with the daemon.
        let permit = self.0.acquire().await;
        let _permit = permit.map_err(|_| refusal::engine(&EngineError::Stopping))?;
        let decoded = tokio::task::spawn_blocking(move || {
            let file = File::from(descriptor);
            // Any other file could block the thread for as long as its writer likes. Asking is done here too, because a
            // file's system may be a program that never answers.
            let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
            let decoded = is_regular.then(|| decode(&file));
            drop((file, hold));
            decoded
        });
        let late = |_| {
            Error::InvalidAudio(format!(
                "the sound file could not be read within {} s; copy it to a local disk",
                PATIENCE.as_secs()
            ))
        };
        let decoded = tokio::time::timeout(PATIENCE, decoded)
            .await
            .map_err(late)?;
        let decoded =
            decoded.map_err(|_| Error::InvalidAudio("the decoder failed on this file".into()))?;
        let decoded = decoded.ok_or_else(|| {
            Error::InvalidArgument(
                "the sound must be a regular file; write a pipe's contents to a file first".into(),
            )
        })?;
        let decoded = decoded.map_err(|error| refusal::file(&error))?;
        let clip = Clip::of_file(decoded.samples, decoded.is_incomplete);
        clip.map_err(|error| refusal::engine(&error))
    }
}
