//! Any options of a call are read with their types or refused by name, and no text is longer than its limit.
//!
//! The input is the body of a message of type `a{sv}`, little-endian.

#![no_main]

use std::fmt::Debug;

use gemmad_api::{AskOptions, FromOptions, InvokeOptions, Options, SayOptions, TranscribeOptions};
use gemmad_fuzz::assert_message;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use zbus::{
    Type,
    wire::{
        LE,
        serialized::{Context, Data},
        to_bytes,
    },
};

/// The options, if they fit. zbus's error for a malformed message is not checked: it has no bound, and goes to the
/// journal.
fn read<T: FromOptions>(bytes: &[u8]) -> Option<T> {
    let message = Data::new(bytes, Context::new(LE, 0));
    let (options, _) = message.deserialize::<Options<T>>().ok()?;
    match options.read() {
        Ok(options) => Some(options),
        Err(error) => {
            assert_message(&error.to_string());
            None
        }
    }
}

/// Asserts that options stay the same when they are sent and read again.
fn assert_stable<T: FromOptions + Serialize + Type + Debug>(options: &T) {
    let sent = to_bytes(Context::new(LE, 0), options).expect("options can be sent");
    let again = read::<T>(&sent).expect("options that are sent can be read");
    assert_eq!(format!("{again:?}"), format!("{options:?}"));
}

fn is_short(text: Option<&String>, longest: usize) -> bool {
    text.is_none_or(|text| text.len() <= longest)
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(options) = read::<AskOptions>(bytes) {
        assert!(is_short(
            options.system.as_ref(),
            AskOptions::LONGEST_SYSTEM
        ));
        assert!(is_short(
            options.schema.as_ref(),
            AskOptions::LONGEST_SCHEMA
        ));
        // The input has no descriptors.
        assert!(options.audio.is_none());
        assert_stable(&options);
    }
    if let Some(options) = read::<SayOptions>(bytes) {
        assert!(is_short(options.voice.as_ref(), SayOptions::LONGEST_VOICE));
        assert_stable(&options);
    }
    if let Some(options) = read::<TranscribeOptions>(bytes) {
        assert!(is_short(
            options.language.as_ref(),
            TranscribeOptions::LONGEST_LANGUAGE
        ));
        assert_stable(&options);
    }
    if let Some(options) = read::<InvokeOptions>(bytes) {
        assert_stable(&options);
    }
});
