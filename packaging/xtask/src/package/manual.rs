//! The manual pages of the daemon: the configuration's from the file that documents it, gemmad's written by hand.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::reference;
use crate::command::root;

/// Writes the manual pages into `folder`; `version` is gemmad's.
pub fn write(folder: &Path, version: &str) -> Result<()> {
    let configuration = root().join("configs/gemmad.toml");
    let text = fs::read_to_string(&configuration)
        .with_context(|| format!("cannot read {}", configuration.display()))?;
    let page = reference::page(&text, version);
    fs::write(folder.join("gemmad.toml.5"), page)?;

    let daemon = root().join("packaging/debian/gemmad.8");
    fs::copy(&daemon, folder.join("gemmad.8"))
        .with_context(|| format!("cannot copy {}", daemon.display()))?;
    Ok(())
}
