//! Keyword spotting: words that are known without the language model, as soon as they are said. One wakes the
//! assistant, one halts it.
//!
//! | file | owns |
//! |---|---|
//! | `spotter` | the words that are waited for; computes nothing while nobody speaks |
//! | `features` | sound → openWakeWord's features: a mel spectrogram, and Google's speech embedding of it |
//! | `word` | features → the score of one word |
//! | `network` | a file in ONNX format, run by tract |
//!
//! The models have the format of [openWakeWord](https://github.com/dscripka/openWakeWord) 0.6, for which there are
//! many, and a way to train one's own.

mod features;
mod network;
#[cfg(test)]
mod onnx;
mod spotted;
mod spotter;
mod word;

pub use spotted::Spotted;
pub use spotter::{KeywordError, Spotter};
