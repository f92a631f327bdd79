//! The tokens of a model as the header of its file describes them, before llama.cpp has loaded it.
//!
//! llama.cpp corrects some descriptions, so what is foreseen has to be compared with the loaded model.

use super::gguf::Header;
use super::markers::Markers;

/// The types of tokens in a GGUF file (llama.h, `llama_token_type`); all others have no text.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// What a token stands for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) enum Word {
    /// These bytes of an answer.
    Text(Vec<u8>),
    /// A part of the protocol with this name.
    Protocol(Vec<u8>),
}

/// The tokens that `header` describes, in order; none if it does not.
pub(in crate::engine) fn words(header: &Header) -> Vec<Word> {
    let kinds = header.i32s("tokenizer.ggml.token_type");
    let tokens = || header.strings("tokenizer.ggml.tokens").zip(kinds);
    let user_defined = tokens().filter(|(_, kind)| **kind == USER_DEFINED);
    let markers = Markers::among(user_defined.filter_map(|(text, _)| text.to_str().ok()));
    let Ok(markers) = markers else {
        return Vec::new();
    };
    let words = tokens().map(|(text, kind)| {
        let bytes = text.to_bytes();
        let is_mark = || text.to_str().is_ok_and(|text| markers.contains(text));
        match *kind {
            NORMAL => Word::Text(spaced(bytes)),
            CONTROL => Word::Protocol(bytes.into()),
            USER_DEFINED if is_mark() => Word::Protocol(bytes.into()),
            USER_DEFINED => Word::Text(bytes.into()),
            BYTE => Word::Text(byte(bytes).into_iter().collect()),
            _ => Word::Text(Vec::new()),
        }
    });
    words.collect()
}

/// The text of a piece, in which U+2581 stands for a space.
fn spaced(piece: &[u8]) -> Vec<u8> {
    match str::from_utf8(piece) {
        Ok(text) => text.replace('\u{2581}', " ").into(),
        Err(_) => piece.into(),
    }
}

/// The byte of a token such as `<0x0A>`.
fn byte(name: &[u8]) -> Option<u8> {
    let digits = name.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}
