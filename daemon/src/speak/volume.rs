//! The volume of the assistant's own voice, as it was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::Fraction;

/// No volume.
const NONE: u32 = u32::MAX;

/// A factor of samples that takes the place of the configured one. Clones share it.
#[derive(Debug, Clone)]
pub struct Volume(Arc<AtomicU32>);

impl Default for Volume {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(NONE)))
    }
}

impl Volume {
    /// The factor, if the configured one is this.
    #[must_use]
    pub fn instead_of(&self, configured: Fraction) -> f32 {
        match self.0.load(Ordering::Relaxed) {
            NONE => configured.get(),
            bits => f32::from_bits(bits),
        }
    }

    /// Sets the factor, 0 to 1.
    pub fn set(&self, factor: f32) {
        self.0.store(factor.to_bits(), Ordering::Relaxed);
    }

    /// The configured one holds again.
    pub fn reset(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_was_asked_for_holds_until_it_is_reset() {
        let configured = Fraction::new(0.5).unwrap();
        let volume = Volume::default();
        assert!((volume.instead_of(configured) - 0.5).abs() < f32::EPSILON);
        volume.clone().set(0.25);
        assert!((volume.instead_of(configured) - 0.25).abs() < f32::EPSILON);
        volume.reset();
        assert!((volume.instead_of(configured) - 0.5).abs() < f32::EPSILON);
    }
}
