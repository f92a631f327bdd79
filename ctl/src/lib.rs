//! The command line of `gemmactl`, for whoever describes it: manual pages, completions.
//!
//! The program itself is in `main.rs`.

pub mod args;
