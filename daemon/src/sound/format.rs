//! The sound that the program works with: mono, samples in -1..1.

/// Sample rate of everything the model hears, in Hz (Gemma 4 model card).
pub const SAMPLE_RATE: u32 = 16_000;

/// Minimum length of sound that is understood, in ms. Nothing shorter carries a word.
pub const SHORTEST_MS: u32 = 100;

/// Maximum length of sound that is understood at a time, in seconds, as in Gemma 4's training (model card, "Audio").
pub const LONGEST_SECONDS: u32 = 30;
