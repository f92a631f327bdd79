//! gemmad: a daemon that understands speech and answers questions with Gemma 4, offline.
//!
//! | room | owns |
//! |---|---|
//! | [`config`] | typed configuration and its errors |
//! | [`commands`] | the catalogue of commands, and carrying them out |
//! | [`engine`] | llama.cpp, behind an async interface |
//! | [`sound`] | devices, samples, sound files |
//! | [`listen`] | from the microphone to utterances |
//! | [`speak`] | from text to the loudspeaker |
//! | [`assistant`] | from an utterance to its reply |
//! | [`reload`] | putting a changed configuration into force |
//! | [`service`] | what the service manager is told |
//! | [`bus`] | the D-Bus objects; they only translate |
//! | [`platform`] | the journal, signals, thermal zones, files, programs, threads |
//!
//! `main` is only the order of start and stop.

pub mod assistant;
pub mod bus;
pub mod commands;
pub mod config;
pub mod engine;
pub mod listen;
pub mod platform;
pub mod reload;
pub mod service;
pub mod sound;
pub mod speak;

/// Aborts a test in which a sound callback allocates. All other code may allocate.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;
