//! Bytes as people read them.

use std::fmt;

/// A number of bytes, shown in millions of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Megabytes(pub u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} MB", self.0.div_ceil(1_000_000))
    }
}
