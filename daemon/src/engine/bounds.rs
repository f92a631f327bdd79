//! Maximum lengths of a request's texts, whatever the configuration says.

/// Maximum length of a JSON Schema, in bytes. Schemas that programs generate for function arguments have a tenth
/// of that.
pub const LONGEST_SCHEMA: usize = 64 * 1024;

/// Maximum length of a text, in bytes, however large the KV cache is.
pub const LONGEST_TEXT: usize = 1 << 20;

/// Maximum length of a rendered prompt, in bytes.
pub(in crate::engine) const LONGEST_PROMPT: usize = 8 * LONGEST_TEXT;
