//! gemmad: a daemon that understands speech and answers questions with Gemma 4, offline.
//!
//! | room | owns |
//! |---|---|
//! | [`config`] | typed configuration and its errors |
//! | [`commands`] | the catalogue of commands, and what comes of them |
//! | [`engine`] | everything llama.cpp, behind an async door |
//! | [`voice`] | the microphone, utterances, the spoken turn |
//! | [`reload`] | putting a changed configuration into force |
//! | [`bus`] | the D-Bus objects; translates and nothing more |
//! | [`platform`] | the journal, the service manager, signals, thermometers |
//!
//! `main` is the order of start and stop; nothing else.

pub mod bus;
pub mod commands;
pub mod config;
pub mod engine;
pub mod platform;
pub mod reload;
pub mod voice;

/// Stops a test in which a callback of sound allocates; anything else may.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;
