//! Any configuration file is refused with the line of the mistake, or yields a configuration that can be written and
//! read again.

#![no_main]

use gemmad::config::Config;
use gemmad_fuzz::{MemoryFile, assert_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = MemoryFile::new(bytes, 0);
    match Config::load(&file.path()) {
        Ok(config) => {
            // Only paths that are not UTF-8 cannot be written, and the file is UTF-8.
            let written = toml::to_string(&config).expect("a configuration can be written");
            let again = MemoryFile::new(written.as_bytes(), 0);
            let again = Config::load(&again.path()).expect("what is written can be read");
            assert_eq!(again, config);
        }
        Err(error) => {
            let message = error.to_string();
            assert_message(&message);
            assert!(message.contains("/proc/self/fd/"), "{message}");
        }
    }
});
