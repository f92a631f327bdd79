//! Any output of a synthesiser yields the same samples, none above full scale, or is refused with the same reason, in
//! whatever pieces it comes.

#![no_main]

use gemmad::speak::fuzzing::samples;
use libfuzzer_sys::fuzz_target;

/// Rate of raw samples without a header, in Hz.
const RATE: u32 = 22_050;

fuzz_target!(|bytes: &[u8]| {
    for raw in [None, Some(RATE)] {
        let whole = samples([bytes], raw);
        if let Ok(samples) = &whole {
            assert!(samples.iter().all(|it| it.abs() <= 1.0));
        }
        for size in [1, 7, 1000] {
            assert_eq!(
                samples(bytes.chunks(size), raw),
                whole,
                "in pieces of {size}"
            );
        }
    }
});
