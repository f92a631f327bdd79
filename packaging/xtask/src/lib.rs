//! What the tasks of this repository share: `cargo xtask`, and the programs of `packaging` that do some of them.

#![allow(
    clippy::missing_errors_doc,
    reason = "each fails when a program that it runs fails, or a file, and names it"
)]

pub mod architecture;
pub mod command;
pub mod package;
pub mod python;
pub mod recordings;
pub mod say;
pub mod setup;
pub mod shape;
