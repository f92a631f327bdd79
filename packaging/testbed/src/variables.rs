//! Environment variables that make a program use only virtual devices.

use std::ffi::OsString;

/// Environment variables that select a microphone for a program.
pub(crate) type Env = Vec<(&'static str, OsString)>;

/// Keeps a program away from the machine's own sound server.
pub(crate) fn no_server() -> (&'static str, OsString) {
    ("PULSE_SERVER", "unix:/nonexistent".into())
}
