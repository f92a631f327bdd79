//! x
pub mod resample;
pub mod file;
mod wav;
