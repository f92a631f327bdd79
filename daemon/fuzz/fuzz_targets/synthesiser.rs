//! Whatever a program writes that is to make sound of text, and in whatever pieces it comes, the same samples are played,
//! none louder than full scale, or it is refused for the same reason.

#![no_main]

use gemmad::voice::fuzzing::samples;
use libfuzzer_sys::fuzz_target;

/// Rate of samples that come without a header.
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
