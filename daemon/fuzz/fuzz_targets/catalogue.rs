//! Any file of the catalogue is refused with its name, or yields commands with a grammar and a declaration each.

#![no_main]

use std::path::Path;

use gemmad::commands::Catalogue;
use gemmad_fuzz::assert_message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Catalogue::parse(Path::new("fuzz.toml"), text) {
        Ok(catalogue) => {
            assert!(!catalogue.grammar().is_empty());
            let declarations = catalogue.declarations();
            assert_eq!(declarations.len(), catalogue.commands.len());
        }
        Err(error) => {
            let message = error.to_string();
            assert_message(&message);
            assert!(message.contains("fuzz.toml"), "{message}");
        }
    }
});
