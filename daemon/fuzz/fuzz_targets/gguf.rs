//! Any header of a model file is refused with a reason, or the values read from it can be used.
//!
//! The input is the header; zeros follow it in place of the tensors.

#![no_main]

use gemmad::engine::fuzzing::{projector, text_model};
use gemmad_fuzz::{MemoryFile, assert_message};
use libfuzzer_sys::fuzz_target;

/// Length of the file, in bytes: more than that of the nano model's projector.
const LENGTH: u64 = 8 << 20;

fuzz_target!(|header: &[u8]| {
    let file = MemoryFile::new(header, LENGTH);
    if let Err(error) = text_model(&file.path()) {
        assert_message(&error.to_string());
    }
    match projector(&file.path()) {
        Ok(heard) => assert!(heard.rows > 0 && heard.numbers == heard.rows * heard.width),
        Err(error) => assert_message(&error.to_string()),
    }
});
