//! Whatever stands in a file of the catalogue, it is refused by name or makes commands that the model can be told of.

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
