//! Typed text in stretches that are tokenised one after the other.
//!
//! llama.cpp cuts a text at its user-defined tokens before it merges bytes. For every piece it makes, it walks
//! through all pieces made before (llama-vocab.cpp, `tokenizer_st_partition`): time grows with the square of
//! their number, a minute for 80 kB. So a long text is tokenised in stretches of about [`STRETCH`] bytes.
//! Between two stretches the work can be given up.
//!
//! A text may be cut where llama.cpp is certain to cut it: on both sides of a user-defined token that it is
//! certain to take ([`Special::certain`]), and where newlines begin or end, because it merges nothing across
//! those. The tokens are then those of the whole text; a test compares them with llama.cpp's.

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

/// Minimum length of a stretch, in bytes. It ends at the next place where the text may be cut.
const STRETCH: usize = 1 << 10;

/// The user-defined tokens of a vocabulary.
#[derive(Debug)]
pub(in crate::engine) struct Special(AhoCorasick);

/// A user-defined token in a text: where it ends and which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    start: usize,
    end: usize,
    token: usize,
}

impl Found {
    fn length(&self) -> usize {
        self.end - self.start
    }
}

impl Special {
    /// The tokens with these `texts`.
    ///
    /// # Errors
    /// When they are more than an automaton has states for.
    pub(in crate::engine) fn new(texts: &[String]) -> Result<Self, String> {
        let texts = texts.iter().filter(|text| !text.is_empty());
        AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Anchored)
            .build(texts)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// The stretches of `text`, in order.
    pub(in crate::engine) fn stretches<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let mut start = 0;
        let is_long = text.len() > STRETCH;
        let cuts = is_long.then(|| self.cuts(text)).into_iter().flatten();
        let mut cuts = cuts.chain([text.len()]);
        std::iter::from_fn(move || {
            let end = cuts.find(|cut| *cut >= start + STRETCH || *cut == text.len())?;
            let stretch = &text[start..end];
            start = end;
            (!stretch.is_empty()).then_some(stretch)
        })
    }

    /// Where `text` may be cut, in ascending order.
    fn cuts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        let bytes = text.as_bytes();
        let mut at = 0;
        // The end of the last token that was cut out, still to be returned.
        let mut pending = None;
        std::iter::from_fn(move || {
            if let Some(cut) = pending.take() {
                return Some(cut);
            }
            while at < bytes.len() {
                let here = at;
                let is_edge = here > 0 && (bytes[here - 1] == b'\n') != (bytes[here] == b'\n');
                let mut is_cut = is_edge;
                match self.longest(text, here) {
                    None => at += 1,
                    Some(found) => match self.certain(text, found) {
                        Ok(end) => {
                            (at, pending, is_cut) = (end, Some(end), true);
                        }
                        Err(end) => at = end,
                    },
                }
                if is_cut {
                    return Some(here);
                }
            }
            None
        })
    }

    /// The longest token at byte `at`.
    fn longest(&self, text: &str, at: usize) -> Option<Found> {
        let input = Input::new(text).range(at..).anchored(Anchored::Yes);
        let found = self.0.find(input)?;
        Some(Found {
            start: found.start(),
            end: found.end(),
            token: found.pattern().as_usize(),
        })
    }

    /// Whether llama.cpp takes `found`, the longest token where it begins, provided that no earlier token reaches
    /// into it. llama.cpp goes through the tokens from the longest to the shortest, for each through the text
    /// from left to right, and takes what does not overlap anything taken before. So it takes `found` unless a
    /// longer token, or another of the same length, begins inside.
    ///
    /// `Ok`: where `found` ends. `Err`: where the chain of overlapping tokens ends that begins with it.
    fn certain(&self, text: &str, found: Found) -> Result<usize, usize> {
        let rivals = (found.start + 1..found.end).filter_map(|at| self.longest(text, at));
        let mut is_certain = true;
        let mut end = found.end;
        for rival in rivals {
            end = end.max(rival.end);
            is_certain &= rival.length() < found.length()
                || (rival.length() == found.length() && rival.token == found.token);
        }
        if is_certain {
            return Ok(found.end);
        }
        let mut at = found.end;
        while at < end {
            end = end.max(self.longest(text, at).map_or(end, |found| found.end));
            at += 1;
        }
        Err(end)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::config;
    use crate::engine::ggml::threads::Threads;
    use crate::engine::llama::model::{Model, Token};

    /// The type that a GGUF file gives to user-defined tokens (llama.h, `LLAMA_TOKEN_TYPE_USER_DEFINED`).
    const USER_DEFINED: u32 = 4;

    /// Where the value of `key` begins in a GGUF file: after the key and its type.
    fn value_of(file: &[u8], key: &str) -> usize {
        let found = file
            .windows(key.len())
            .position(|window| window == key.as_bytes());
        found.unwrap() + key.len() + 4
    }

    fn number(file: &[u8], at: usize) -> usize {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
            .try_into()
            .unwrap()
    }

    /// The nano model with these tokens made user-defined: pairs of a token's old text and a new one of the same
    /// length.
    fn marked(tokens: &[(&str, &str)]) -> Model {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let mut file = std::fs::read(folder.join("nano-f16.gguf")).unwrap();
        let texts = value_of(&file, "tokenizer.ggml.tokens");
        let types = value_of(&file, "tokenizer.ggml.token_type") + 12;
        let mut at = texts + 12;
        for nth in 0..number(&file, texts + 4) {
            let length = number(&file, at);
            let text = at + 8..at + 8 + length;
            at = text.end;
            let found = tokens
                .iter()
                .find(|(old, _)| old.as_bytes() == &file[text.clone()]);
            if let Some((_, new)) = found {
                file[text].copy_from_slice(new.as_bytes());
                file[types + 4 * nth..][..4].copy_from_slice(&USER_DEFINED.to_le_bytes());
            }
        }
        let out = tempfile::tempdir().unwrap();
        let text = out.path().join("marked.gguf");
        std::fs::write(&text, file).unwrap();
        let config = config::Model {
            text,
            mmproj: PathBuf::new(),
            ..config::Model::default()
        };
        Model::open(&config, &Threads::of(1)).unwrap()
    }

    /// Tokens that overlap themselves and each other, of equal and of different lengths, with newlines among them.
    fn overlapping() -> Model {
        marked(&[
            ("q", "q"),
            ("an", "an"),
            ("and", "and"),
            ("all", "all"),
            ("ll", "ll"),
            ("re", "re"),
            ("ar", "ar"),
            ("<unused1489>", "aaaaaaaaaaaa"),
            ("<unused1490>", "abababababab"),
            ("<unused1491>", "babababababa"),
            ("<unused1492>", "\n\n\n\n\n\n\n\n\n\n\n\n"),
            ("<unused1493>", "the end.\n\nOn"),
            ("\n", "\n"),
        ])
    }

    /// The tokens that llama.cpp makes of the whole text.
    fn whole(model: &Model, text: &str) -> Vec<Token> {
        let tokens = model
            .llama()
            .vocab()
            .tokenize(text.as_bytes(), false, false);
        tokens.into_iter().map(|token| token.0).collect()
    }

    #[test]
    fn text_full_of_user_defined_tokens_takes_time_in_proportion_to_its_length() {
        let model = marked(&[("q", "q")]);
        let started = Instant::now();
        let tokens = model.tokenise_said(&"q".repeat(80_000));
        assert_eq!(tokens.len(), 80_000);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn one_long_word_and_one_long_line_are_tokenised_at_once() {
        let model = overlapping();
        for text in ["e", "w", "\n", "a", "ab", "the ", "q q", "é", "\u{2581}"] {
            let started = Instant::now();
            let text = text.repeat((1 << 18) / text.len());
            assert!(!model.tokenise_said(&text).is_empty());
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "{:?}",
                started.elapsed()
            );
        }
    }

    #[test]
    fn a_long_text_is_given_up_when_nobody_waits_for_it() {
        let model = marked(&[("q", "q")]);
        let asked = std::cell::Cell::new(0);
        let is_wanted = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        assert_eq!(model.tokenise_while(&"q".repeat(1 << 20), &is_wanted), None);
        assert_eq!(asked.get(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn the_tokens_are_those_of_the_whole_text(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "q", "a", "b", "an", "and", "and all", "ll", "are", "re", "\n", "\n\n\n", " ", "é", "👍", "the ",
                    "the end.\n", "On", "aaaaaaaaaaa", "ababababab", "babab", "\n\n\n\n\n\n\n\n\n\n", "<|turn>", "x",
                ]),
                1..40,
            ),
            repeated in 1..40usize,
        ) {
            thread_local!(static MODEL: Model = overlapping());
            let text = words.concat().repeat(repeated);
            MODEL.with(|model| {
                let expected = whole(model, &text);
                prop_assert_eq!(model.tokenise_said(&text), expected);
                Ok(())
            })?;
        }
    }

    proptest! {
        #[test]
        fn stretches_are_the_text_and_none_is_much_longer_than_it_has_to_be(
            words in prop::collection::vec(prop::sample::select(vec!["word", " ", "\n", "q", "ü"]), 0..3000),
        ) {
            let special = Special::new(&["q".to_owned(), "ü".to_owned()]).unwrap();
            let text = words.concat();
            let cuts: Vec<_> = special.cuts(&text).collect();
            let mut start = 0;
            for stretch in special.stretches(&text) {
                let end = start + stretch.len();
                prop_assert_eq!(stretch, &text[start..end]);
                let missed = cuts.iter().find(|cut| (start + STRETCH..end).contains(cut));
                prop_assert!(missed.is_none() || text.len() <= STRETCH, "{missed:?}");
                start = end;
            }
            prop_assert_eq!(start, text.len());
        }
    }
}
