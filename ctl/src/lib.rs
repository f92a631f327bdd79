//! The command line of `gemmactl`, for the generators of manual pages and completions.
//!
//! The program itself is in `main.rs`.

pub mod args;
