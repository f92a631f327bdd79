//! Any text is spoken as the same sentences, in whatever pieces it comes. The sentences are short, each one line of
//! characters that a synthesiser can read.
//!
//! The input is a text and, after a NUL byte, the number of characters in each piece, less one.

#![no_main]

use gemmad::speak::fuzzing::{Spoken, spoken};
use gemmad_fuzz::text_and_choices;
use libfuzzer_sys::fuzz_target;

/// Three languages with rules of their own, and none.
const LANGUAGES: [&str; 4] = ["en-us", "de", "hi", ""];

/// Maximum length of a sentence in Markdown, in bytes, with a margin, because a cut never splits a character.
const LONGEST: usize = 1700;

/// Maximum growth from written to spoken text, as a factor in bytes: "½" becomes "one half".
const TIMES: usize = 20;

/// The text in pieces of `counts` + 1 characters, and the rest as the last piece.
fn pieces<'a>(text: &'a str, counts: &[u8]) -> Vec<&'a str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for count in counts {
        let at = rest
            .char_indices()
            .map(|(at, _)| at)
            .nth(usize::from(*count) + 1);
        let (piece, after) = rest.split_at(at.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn assert_speakable(Spoken { written, said }: &Spoken) {
    assert!(written.len() <= LONGEST, "{} bytes", written.len());
    assert!(said.len() <= TIMES * (written.len() + 1), "{said:?}");
    let marks = "`*[]{}|<>\\";
    let is_bad = |it: char| it.is_control() || marks.contains(it);
    assert!(!said.contains(is_bad), "{said:?}");
}

fuzz_target!(|input: &[u8]| {
    let Some((text, counts)) = text_and_choices(input) else {
        return;
    };
    for language in LANGUAGES {
        let whole = spoken([text], language);
        whole.iter().for_each(assert_speakable);
        assert_eq!(spoken(pieces(text, counts), language), whole);
        let ones = vec![0; text.chars().count()];
        assert_eq!(spoken(pieces(text, &ones), language), whole);
    }
});
