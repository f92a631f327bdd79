//! Sound files, which travel to the daemon as open descriptors: it needs no right to read them.

use std::{os::fd::OwnedFd, path::Path};

use tokio::fs::File;

use crate::failure::Failure;

/// Opens `path` for the daemon to read.
pub async fn open(path: &Path) -> Result<OwnedFd, Failure> {
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "cannot read the sound file {}: {why}. Name a sound file",
            path.display()
        ))
    };
    let file = File::open(path).await.map_err(|error| unusable(&error))?;
    let metadata = file.metadata().await.map_err(|error| unusable(&error))?;
    if metadata.is_dir() {
        return Err(unusable(&"it is a folder"));
    }
    Ok(file.into_std().await.into())
}
