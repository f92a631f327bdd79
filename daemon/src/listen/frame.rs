//! The samples that are judged together.

/// Samples at 16 kHz that are judged together, 16 ms: earshot's frame.
pub const FRAME: usize = 256;
