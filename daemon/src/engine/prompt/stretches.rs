//! Long texts in stretches, each of which is tokenised by itself.
//!
//! llama.cpp cuts a text at its user-defined tokens. What is between them it reads as one word, however many spaces it
//! has, and merges pairs of pieces in it, each of which it copies several times. For every piece it cuts out, it walks
//! through all pieces made before (llama-vocab.cpp, `tokenizer_st_partition`): time grows with the square of their number.
//! So a long text is cut here, into words as a rule. Those that occur again are not tokenised again, and between two of
//! them the work can be given up ([`Bounds`]).
//!
//! A text may be cut where llama.cpp is certain to cut it, or to merge nothing across: on both sides of a user-defined
//! token that it is certain to take ([`Seams::certain`]), where newlines begin or end, and between two other characters
//! that no merge of the vocabulary joins. The tokens are then those of the whole text; a test compares them with llama.cpp's.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

use crate::engine::EngineError;

/// Length from which a text is cut, in bytes.
const LONG: usize = 1 << 10;

/// When tokenising ends before its time.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Bounds<'a> {
    /// Whether the tokens are still wanted.
    pub is_wanted: &'a dyn Fn() -> bool,
    /// Number of tokens of the same prompt that come before.
    pub before: usize,
    /// Number of tokens that is too many for a prompt.
    pub capacity: usize,
}

impl Bounds<'static> {
    /// No bounds.
    pub(in crate::engine) const NONE: Self = Self {
        is_wanted: &|| true,
        before: 0,
        capacity: usize::MAX,
    };
}

impl Bounds<'_> {
    /// The same bounds behind `tokens` more of the prompt.
    pub(in crate::engine) fn behind(self, tokens: usize) -> Self {
        Self {
            before: self.before + tokens,
            ..self
        }
    }

    /// Checks whether to go on with a text of at least `least` tokens.
    ///
    /// # Errors
    /// [`EngineError::PromptTooLong`] or [`EngineError::Cancelled`].
    pub(in crate::engine) fn check(self, least: usize) -> Result<(), EngineError> {
        let (rows, capacity) = (self.before + least, self.capacity);
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        if !(self.is_wanted)() {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }
}

/// What a vocabulary makes of two characters that follow each other.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    /// Whether a merge joins a piece that ends with the first to one that begins with the second.
    is_joined: bool,
    /// Length of the longest token that begins with both, in characters; 0 if there is none.
    longest: usize,
}

/// Where a text may be cut, by the merges and the user-defined tokens of a vocabulary.
#[derive(Debug)]
pub(in crate::engine) struct Seams {
    user_defined: AhoCorasick,
    /// With [`merged`] characters.
    pairs: HashMap<(char, char), Pair>,
}

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

impl Seams {
    /// Those of a vocabulary with the texts `tokens`, among them the user-defined ones in `user_defined`, and with these
    /// `merges`, as a GGUF file has them: two pieces with a space between them.
    ///
    /// # Errors
    /// When there are more user-defined tokens than an automaton has states for.
    pub(in crate::engine) fn new<'a>(
        user_defined: &[String],
        tokens: impl Iterator<Item = &'a str>,
        merges: impl Iterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let mut pairs = HashMap::<_, Pair>::new();
        for token in tokens {
            let mut chars = token.chars().map(merged);
            if let Some(pair) = chars.next().zip(chars.next()) {
                let longest = &mut pairs.entry(pair).or_default().longest;
                *longest = token.chars().count().max(*longest);
            }
        }
        for (left, right) in merges.filter_map(pieces) {
            if let Some(pair) = left.chars().next_back().zip(right.chars().next()) {
                pairs.entry(pair).or_default().is_joined = true;
            }
        }
        let texts = user_defined.iter().filter(|text| !text.is_empty());
        let user_defined = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Anchored)
            .build(texts)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            user_defined,
            pairs,
        })
    }

    /// A number of tokens that `text` has at least. It is far quicker to know than their number.
    pub(in crate::engine) fn least(&self, text: &str) -> usize {
        let mut chars = text.chars().map(merged).peekable();
        let (mut tokens, mut end, mut reach) = (0, 0, 0);
        for at in 0.. {
            let Some(first) = chars.next() else {
                break;
            };
            let pair = chars
                .peek()
                .and_then(|next| self.pairs.get(&(first, *next)));
            reach = reach.max(at + pair.map_or(1, |pair| pair.longest.max(1)));
            // So many tokens do not reach beyond `end`; one more reaches as far as any that begins up to there.
            if at == end {
                (tokens, end) = (tokens + 1, reach);
            }
        }
        tokens
    }

    /// The stretches of `text`, in order; one, if it is not long.
    pub(in crate::engine) fn stretches<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let is_long = text.len() > LONG;
        let cuts = is_long.then(|| self.cuts(text)).into_iter().flatten();
        let mut cuts = cuts.chain([text.len()]);
        let mut start = 0;
        std::iter::from_fn(move || {
            let end = cuts.find(|cut| *cut > start)?;
            Some(&text[std::mem::replace(&mut start, end)..end])
        })
    }

    /// Where `text` may be cut, in ascending order.
    fn cuts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        let mut at = 0;
        let mut before = None;
        // The end of the last token that was cut out, still to be returned.
        let mut pending = None;
        std::iter::from_fn(move || {
            if let Some(cut) = pending.take() {
                return Some(cut);
            }
            while let Some(next) = text[at..].chars().next() {
                let here = at;
                let mut is_cut = before.is_some_and(|before| self.is_seam(before, next));
                at += next.len_utf8();
                if let Some(found) = self.longest(text, here) {
                    match self.certain(text, found) {
                        Ok(end) => (at, pending, is_cut) = (end, Some(end), true),
                        Err(end) => at = end,
                    }
                }
                before = text[here..at].chars().next_back();
                if is_cut {
                    return Some(here);
                }
            }
            None
        })
    }

    /// Whether llama.cpp merges nothing across the place between these two characters.
    fn is_seam(&self, before: char, next: char) -> bool {
        match (before == '\n', next == '\n') {
            (true, true) => false,
            (false, false) => {
                let pair = self.pairs.get(&(merged(before), merged(next)));
                !pair.is_some_and(|pair| pair.is_joined)
            }
            _ => true,
        }
    }

    /// The longest token at byte `at`.
    fn longest(&self, text: &str, at: usize) -> Option<Found> {
        let input = Input::new(text).range(at..).anchored(Anchored::Yes);
        let found = self.user_defined.find(input)?;
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

/// The character that llama.cpp merges in place of `character`.
fn merged(character: char) -> char {
    match character {
        ' ' => '\u{2581}',
        other => other,
    }
}

/// The two pieces of a merge. llama.cpp looks for the space from the second byte on.
fn pieces(merge: &str) -> Option<(&str, &str)> {
    let bytes = merge.as_bytes().iter();
    let space = bytes.skip(1).position(|byte| *byte == b' ')? + 1;
    Some((&merge[..space], &merge[space + 1..]))
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
        let bounds = Bounds {
            is_wanted: &|| {
                asked.set(asked.get() + 1);
                asked.get() < 3
            },
            ..Bounds::NONE
        };
        let text = "q".repeat(1 << 20);
        let given_up = model.tokenise_within(&text, bounds);
        assert_eq!(given_up, Err(EngineError::Cancelled));
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_as_soon_as_that_is_certain() {
        let model = overlapping();
        let capacity = 5000;
        let bounds = Bounds {
            before: 100,
            capacity,
            ..Bounds::NONE
        };
        // Words of which many, few, and none occur again, and a text that cannot be cut.
        let numbers: Vec<_> = (0..100_000).map(|nth| nth.to_string()).collect();
        let numbers = numbers.join(" ");
        for text in ["the end ".repeat(50_000), numbers, "e".repeat(500_000)] {
            let started = Instant::now();
            let refused = model.tokenise_within(&text, bounds).unwrap_err();
            let EngineError::PromptTooLong { rows, .. } = refused else {
                panic!("{refused:?}")
            };
            assert!(rows >= capacity);
            assert!(rows <= 100 + whole(&model, &text).len());
            assert!(started.elapsed() < Duration::from_secs(5));
        }
        let fitting = "the end ".repeat(1000);
        let tokens = model.tokenise_within(&fitting, bounds).unwrap();
        assert_eq!(tokens, whole(&model, &fitting));
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

    /// Words of many languages, numbers, markup and code, some of them with user-defined tokens.
    fn texts() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            "[a-z]{1,8}",
            "[A-Za-z0-9_.,;:(){}<>/=-]{1,12}",
            "\\PC{1,6}",
            prop::sample::select(vec![
                " ",
                "  ",
                "\n",
                "\t",
                "the ",
                " and",
                "    ",
                "\n\n",
                "<h1>",
                "</b>",
                "été ",
                "日本語",
                "▁",
                "▁▁",
                "🙂",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(word, 1..400).prop_map(|words| words.concat())
    }

    /// Compares the tokens of `text` with llama.cpp's, and their number with what is expected of it.
    fn compare(model: &Model, text: &str) -> Result<(), TestCaseError> {
        let parts = model.parts(text).flat_map(|part| whole(model, part));
        let parts: Vec<_> = parts.collect();
        let tokens = model.tokenise_within(text, Bounds::NONE).unwrap();
        prop_assert!(model.least(text) <= tokens.len());
        prop_assert_eq!(tokens, parts);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn every_stretch_is_tokenised_as_it_is_within_the_text(text in texts(), repeated in 1..8usize) {
            thread_local!(static MODEL: Model = overlapping());
            MODEL.with(|model| compare(model, &text.repeat(repeated)))?;
        }
    }

    #[test]
    #[ignore = "needs Gemma's vocabulary"]
    fn long_texts_have_llama_cpps_tokens_over_gemmas_vocabulary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let config = config::Model {
            text: root.join("target/shape/tiny-gemma-q4_0.gguf"),
            mmproj: PathBuf::new(),
            ..config::Model::default()
        };
        let model = Model::open(&config, &Threads::of(1)).unwrap();
        for path in [
            "docs/architecture.md",
            "docs/figures.json",
            "models/nano/data.py",
            "Cargo.lock",
        ] {
            compare(&model, &std::fs::read_to_string(root.join(path)).unwrap()).unwrap();
        }
        for unit in [
            "a",
            "=",
            " ",
            "\n",
            "\t",
            "─",
            "日本語",
            "▁▁",
            ">▁</",
            "x  y\n\n",
            "<h1></h1>",
        ] {
            compare(&model, &unit.repeat(20_000)).unwrap();
        }
        let config = ProptestConfig::with_cases(100);
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let repeated = (texts(), 1..8_usize).prop_map(|(text, times)| text.repeat(times));
        runner
            .run(&repeated, |text| compare(&model, &text))
            .unwrap();
    }

    proptest! {
        #[test]
        fn stretches_are_the_text_cut_wherever_nothing_is_joined(
            words in prop::collection::vec(prop::sample::select(vec!["word", " ", "\n", "q", "ü"]), 0..3000),
        ) {
            let user_defined = ["q".to_owned(), "ü".to_owned()];
            let merges = ["w o", "r d", "wo rd", "\u{2581} word"];
            let seams = Seams::new(&user_defined, std::iter::empty(), merges.into_iter()).unwrap();
            let text = words.concat();
            let stretches: Vec<_> = seams.stretches(&text).collect();
            prop_assert_eq!(stretches.concat(), text.as_str());
            if text.len() > LONG {
                for stretch in stretches {
                    prop_assert!([" word", "word", " ", "q", "ü"].contains(&stretch) || stretch.trim_matches('\n').is_empty());
                }
            }
        }
    }

    #[test]
    fn no_text_has_fewer_tokens_than_the_longest_ones_make_of_it() {
        let tokens = ["a", "aa", "aaaa", "\u{2581}a", "xyz", "é", "\n\n\n"];
        let seams = Seams::new(&[], tokens.into_iter(), std::iter::empty()).unwrap();
        for (text, least) in [
            ("", 0),
            ("b", 1),
            ("aaaaaaaa", 2),
            ("aaaaaaaaa", 3),
            (" a a", 2),
            ("xyzxyz", 2),
            ("éé", 2),
            ("\n\n\n\n", 2),
        ] {
            assert_eq!(seams.least(text), least, "{text:?}");
        }
    }
}
