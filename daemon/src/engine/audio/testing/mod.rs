//! References that the audio encoder is held against in tests.
//!
//! | file | owns |
//! |---|---|
//! | `mtmd` | llama.cpp's multimodal library on whole clips |
//! | `reference` | comparisons with it |
//! | `spectrogram` | llama.cpp's spectrogram, operation by operation |
//! | `written` | projector files that the tests write |

pub(super) mod mtmd;
pub(super) mod reference;
pub(super) mod spectrogram;
pub(super) mod written;
