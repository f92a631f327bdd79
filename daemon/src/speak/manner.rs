//! How a speech sounds.

use crate::config;

/// How one speech is to sound, where it differs from the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manner {
    /// A voice of the synthesiser.
    pub voice: Option<String>,
    /// Factor of the samples, above 0 and up to 1.
    pub volume: Option<config::Fraction>,
}
