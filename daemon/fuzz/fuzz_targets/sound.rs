//! Whatever a client hands over as a sound file, it becomes sound that the model can hear, or is refused by name.

#![no_main]

use gemmad::{
    engine::{LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS},
    voice::decode,
};
use gemmad_fuzz::{assert_message, forgive};
use libfuzzer_sys::fuzz_target;

/// Crates that decode. Some check no sum for overflow, which in a release build is not checked.
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
