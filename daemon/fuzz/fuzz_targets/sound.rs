//! Any sound file is decoded to sound that the model can hear, or refused with a named error.

#![no_main]

use gemmad::sound::{LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS, decode};
use gemmad_fuzz::{assert_message, forgive};
use libfuzzer_sys::fuzz_target;

/// Crates of the decoders. Some overflow in additions, which panics with overflow checks and wraps in a release build.
static DECODERS: [&str; 2] = ["/ropus-", "/symphonia-"];

fuzz_target!(init: forgive(&DECODERS), |file: &[u8]| {
    match decode(&file) {
        Ok(sound) => {
            let samples = sound.samples.len();
            assert!(
                samples >= (SAMPLE_RATE * SHORTEST_MS / 1000) as usize,
                "{samples}"
            );
            assert!(
                samples <= (SAMPLE_RATE * LONGEST_SECONDS) as usize,
                "{samples}"
            );
            assert!(sound.samples.iter().all(|it| it.is_finite()));
        }
        Err(error) => assert_message(&error.to_string()),
    }
});
