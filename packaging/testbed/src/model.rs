//! Models that a daemon loads.

use std::path::{Path, PathBuf};

/// The two files of a model.
#[derive(Debug, Clone)]
pub struct Model {
    /// The text model, a GGUF.
    pub text: PathBuf,
    /// Its multimodal projector, a GGUF.
    pub mmproj: PathBuf,
}

impl Model {
    /// The files `NAME.gguf` and `NAME.mmproj.gguf` in `folder`.
    #[must_use]
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self {
            text: folder.join(format!("{name}.gguf")),
            mmproj: folder.join(format!("{name}.mmproj.gguf")),
        }
    }

    /// The embedded nano model, which understands some spoken commands.
    #[must_use]
    pub fn nano() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/nano");
        Self::in_folder(Path::new(folder), "nano-f16")
    }
}
