//! An absolute path, which does not depend on the daemon's working directory.

use std::path::PathBuf;

use serde::Deserialize;

use super::text::Fixed;

/// An absolute path, which does not depend on the daemon's working directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fixed")]
pub struct Absolute(pub PathBuf);

impl TryFrom<Fixed> for Absolute {
    type Error = String;

    fn try_from(path: Fixed) -> Result<Self, String> {
        let path = PathBuf::from(path.as_str());
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(format!("{} is no path from the root", path.display()))
        }
    }
}
