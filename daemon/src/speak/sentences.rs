//! Cuts text that comes in pieces into passages, which are spoken one at a time.
//!
//! Speaking begins with the first clause, because a person is waiting, and goes on sentence by sentence, because a
//! synthesiser needs a whole one for its melody. The end of a block of Markdown ends a sentence too.
//!
//! Every character is looked at once. Beyond that, each word costs a look at the last hundred bytes, each line at its
//! first few words, and each cut at a few hundred bytes before it: time grows with the length of the text.

use std::collections::VecDeque;

use super::lines::{Lines, Token};
use super::passage::Passage;
use super::sentence::Sentence;

/// Bytes read at a time.
const STEP: usize = 1024;

/// The result of reading on.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Something to be spoken.
    Passage(Passage),
    /// Nothing yet; there is more to read.
    More,
    /// Everything was read. More of the text may come.
    Starved,
    /// The text is at its end.
    Over,
}

/// Cuts a text that comes in pieces. How it is cut into pieces makes no difference.
#[derive(Debug)]
pub struct Sentences {
    /// Pieces not read yet, the first from `read` on.
    pieces: VecDeque<String>,
    read: usize,
    is_over: bool,
    lines: Lines,
    sentence: Sentence,
}

impl Sentences {
    /// The start of a text in this language.
    #[must_use]
    pub fn new(language: &str) -> Self {
        Self {
            pieces: VecDeque::new(),
            read: 0,
            is_over: false,
            lines: Lines::default(),
            sentence: Sentence::new(language),
        }
    }

    /// What follows is in this language.
    pub fn go_on_in(&mut self, language: &str) {
        self.sentence.go_on_in(language);
    }

    /// Takes the next piece of the text.
    pub fn push(&mut self, piece: &str) {
        if !piece.is_empty() {
            self.pieces.push_back(piece.into());
        }
    }

    /// Ends the text.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// Reads on, by no more than a step, so that other tasks do not wait.
    pub fn read(&mut self) -> Step {
        if let Some(passage) = self.sentence.complete.pop_front() {
            return Step::Passage(passage);
        }
        let Some(piece) = self.pieces.front() else {
            return self.read_end();
        };
        let rest = &piece[self.read..];
        for (at, character) in rest.char_indices() {
            if at >= STEP {
                self.read += at;
                return Step::More;
            }
            let sentence = &mut self.sentence;
            self.lines
                .read(character, &mut |token| sentence.take(token));
            if let Some(passage) = self.sentence.complete.pop_front() {
                self.read += at + character.len_utf8();
                return Step::Passage(passage);
            }
        }
        self.pieces.pop_front();
        self.read = 0;
        Step::More
    }

    /// Goes on where everything that has come was read.
    fn read_end(&mut self) -> Step {
        if !self.is_over {
            return Step::Starved;
        }
        // What has begun ends here. The second time there is nothing.
        let sentence = &mut self.sentence;
        self.lines.read('\n', &mut |token| sentence.take(token));
        sentence.take(Token::End);
        match sentence.complete.pop_front() {
            Some(passage) => Step::Passage(passage),
            None => Step::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sentence::{LONGEST, LONGEST_SOURCE, SEEN};
    use super::*;

    /// What stands for code in these tests.
    const CODE: &str = "```";

    /// The passages that reading on completes.
    fn read(sentences: &mut Sentences) -> Vec<String> {
        let mut passages = Vec::new();
        loop {
            match sentences.read() {
                Step::Passage(Passage::Text(text)) => passages.push(text),
                Step::Passage(Passage::Code) => passages.push(CODE.into()),
                Step::More => {}
                Step::Starved | Step::Over => return passages,
            }
        }
    }

    fn cut_pieces<'a>(pieces: impl IntoIterator<Item = &'a str>, language: &str) -> Vec<String> {
        let mut sentences = Sentences::new(language);
        let mut passages = Vec::new();
        for piece in pieces {
            sentences.push(piece);
            passages.extend(read(&mut sentences));
        }
        sentences.end();
        passages.extend(read(&mut sentences));
        passages
    }

    fn cut(text: &str) -> Vec<String> {
        cut_pieces([text], "en")
    }

    #[test]
    fn the_first_clause_comes_first_and_then_sentence_by_sentence() {
        assert_eq!(
            cut(
                "The sky is blue, because air scatters blue light. Red goes straight on, mostly. Yes!"
            ),
            [
                "The sky is blue,",
                "because air scatters blue light.",
                "Red goes straight on, mostly.",
                "Yes!"
            ]
        );
        assert_eq!(cut("Yes, it is."), ["Yes, it is."]);
    }

    #[test]
    fn a_clause_is_complete_before_the_next_word_is() {
        let mut sentences = Sentences::new("en");
        sentences.push("The sky is blue,");
        assert!(read(&mut sentences).is_empty());
        sentences.push(" b");
        assert_eq!(read(&mut sentences), ["The sky is blue,"]);
        sentences.push("ecause. ");
        assert_eq!(read(&mut sentences), ["because."]);
        sentences.end();
        assert!(read(&mut sentences).is_empty());
        assert_eq!(sentences.read(), Step::Over);
    }

    #[test]
    fn abbreviations_initials_numbers_and_addresses_end_no_sentence() {
        for text in [
            "Ask Dr. Smith about it.",
            "Fruit, e.g. apples.",
            "It was J. S. Bach.",
            "It is 3.14 or so.",
            "See example.org for more.",
            "He said \"Go.\"",
            "We met on Mar. 5 there.",
            "Come at 3:45 p.m. on Monday.",
        ] {
            let text = format!("Well now then. {text}");
            assert_eq!(cut(&text).len(), 2, "{:?}", cut(&text));
        }
        assert_eq!(cut("He said (well.) Then left.").len(), 2);
        assert_eq!(
            cut("It is 1999. We go to the U.S. Then we stay. No. We go."),
            [
                "It is 1999.",
                "We go to the U.S.",
                "Then we stay.",
                "No.",
                "We go."
            ]
        );
    }

    #[test]
    fn no_is_an_answer_at_the_start_of_a_sentence_and_a_number_elsewhere() {
        assert_eq!(
            cut("Was it good? No. 3 of us left. Please look at No. 3 there."),
            [
                "Was it good?",
                "No.",
                "3 of us left.",
                "Please look at No. 3 there."
            ]
        );
        // After a clause too.
        assert_eq!(
            cut("The best of them is, No. 3 says."),
            ["The best of them is,", "No. 3 says."]
        );
    }

    #[test]
    fn dates_are_not_cut_at_their_comma() {
        assert_eq!(
            cut("It was on March 5, 2024, when we met. On Monday, May 6, 2024 we left."),
            [
                "It was on March 5, 2024,",
                "when we met.",
                "On Monday, May 6, 2024 we left."
            ]
        );
    }

    #[test]
    fn lines_of_markdown_are_sentences_and_wrapped_lines_are_not() {
        assert_eq!(
            cut(
                "# Tea\nBoil some\nwater. Then:\n\n- take a cup\n- **add** tea\n1. drink it\n2) enjoy\n> so\n---\nEnd"
            ),
            [
                "Tea",
                "Boil some water.",
                "Then:",
                "take a cup",
                "**add** tea",
                "1. drink it",
                "2) enjoy",
                "so",
                "End"
            ]
        );
        assert_eq!(
            cut("**Bold** words\n*and* more"),
            ["**Bold** words *and* more"]
        );
        assert_eq!(
            cut("- This causes a\n  segmentation fault.\n\nSee section\n7. for more of it."),
            [
                "This causes a segmentation fault.",
                "See section 7. for more of it."
            ]
        );
    }

    #[test]
    fn code_is_one_mark_whatever_is_in_it() {
        let text = "Do this:\n```python\nprint('Hello. World.')\n# no\n\n``\n```\nThat is all.";
        assert_eq!(cut(text), ["Do this:", CODE, "That is all."]);
        assert_eq!(cut("```\nnever closed"), [CODE]);
    }

    #[test]
    fn links_tags_and_code_are_not_cut() {
        let text = "Well now then. See [One. Two](http://e.org/a. b) and <img alt=\"A. B\"> and `x. Y`. So it is.";
        assert_eq!(cut(text).len(), 3, "{:?}", cut(text));
    }

    #[test]
    fn endless_sentences_are_cut_between_words() {
        let text = "word ".repeat(400);
        let all = cut(&text);
        assert!(all.iter().all(|it| it.len() <= LONGEST), "{all:?}");
        assert_eq!(all.join(" "), text.trim());
        assert!(
            cut(&"x".repeat(2000))
                .iter()
                .all(|it| it.len() <= LONGEST + 1)
        );
    }

    #[test]
    fn sentences_of_languages_without_spaces_end_too() {
        assert_eq!(
            cut("今日は晴れです。明日は雨です。"),
            ["今日は晴れです。", "明日は雨です。"]
        );
    }

    #[test]
    fn full_stops_of_other_scripts_and_abbreviations_of_other_languages_are_known() {
        for (language, text, count) in [
            ("hi", "नमस्ते। आप कैसे हैं? मैं ठीक हूँ।", 3),
            ("ur", "یہ ایک ہے۔ یہ دو ہے۔", 2),
            ("ar", "كيف حالك؟ أنا بخير.", 2),
            (
                "de",
                "Das gilt z. B. hier bzw. dort am 3. Mai. Das ist d. h. alles.",
                2,
            ),
        ] {
            let all = cut_pieces([text], language);
            assert_eq!(all.len(), count, "{all:?}");
        }
    }

    #[test]
    fn a_long_text_is_read_in_steps_whatever_is_in_it() {
        for unit in [
            "1", "-", "*", " ", "#", "[", "a. ", "- ", "\n", "`", "> ", "word ",
        ] {
            let mut sentences = Sentences::new("en");
            sentences.push(&unit.repeat((1 << 16) / unit.len()));
            sentences.end();
            let mut steps = 0;
            let mut last = sentences.read();
            while last != Step::Over {
                // No step reads more than its share, and each gets on.
                let before = (
                    sentences.pieces.len(),
                    sentences.read,
                    sentences.sentence.complete.len(),
                );
                last = sentences.read();
                let after = (
                    sentences.pieces.len(),
                    sentences.read,
                    sentences.sentence.complete.len(),
                );
                assert!(after.1 <= before.1 + STEP, "{unit:?}");
                assert!(before != after || sentences.pieces.is_empty(), "{unit:?}");
                steps += 1;
            }
            assert!(steps >= (1 << 16) / STEP, "{unit:?}: {steps}");
            // What is remembered meanwhile has bounds.
            let Sentence { source, seen, .. } = &sentences.sentence;
            assert!(source.capacity() <= 4 * LONGEST_SOURCE && seen.capacity() <= 16 * SEEN);
        }
    }

    proptest! {
        #[test]
        fn cutting_the_text_anywhere_gives_the_same_sentences(
            text in "([a-zA-Z.,!?:`*#>|0-9_<()\\[\\]-]|\n|\r| |```|Dr\\. |5, |p\\.m\\. |é|。){0,80}",
            places in proptest::collection::vec(0..80_usize, 0..4),
            language in "(en|de|hi)",
        ) {
            let mut places: Vec<_> = places
                .into_iter()
                .map(|place| text.char_indices().map(|(at, _)| at).nth(place).unwrap_or(text.len()))
                .chain([0, text.len()])
                .collect();
            places.sort_unstable();
            let pieces = places.windows(2).map(|it| &text[it[0]..it[1]]);
            prop_assert_eq!(cut_pieces(pieces, &language), cut_pieces([&*text], &language));
        }

        #[test]
        fn no_word_is_lost_or_doubled(text in "([a-zA-Z.,!?: *#>|0-9_-]|\n|é|。){0,200}") {
            let words = |text: &str| text.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(words(&cut(&text).concat()), words(&text));
        }
    }
}
