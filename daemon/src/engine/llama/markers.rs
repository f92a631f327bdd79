//! Tokens of a vocabulary that mark something and are no text, although llama.cpp finds them in any text.
//!
//! llama.cpp looks for "user-defined" tokens even in text that may hold no control token. In files of Gemma these are two
//! kinds: text that occurs often, such as runs of spaces and tags of HTML, and marks such as `<|tool_call>`,
//! `<start_of_image>` or `[multimodal]`. A person who types the second kind means its characters.

use aho_corasick::AhoCorasick;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token_type::LlamaTokenAttr;

/// The tags of HTML that Gemma's vocabulary has as tokens of text, without brackets (`models/shape/gemma.py` fetches it).
const TAGS: [&str; 34] = [
    "a",
    "b",
    "blockquote",
    "body",
    "caption",
    "code",
    "div",
    "em",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "html",
    "i",
    "iframe",
    "img",
    "li",
    "s",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];

/// The marks of a vocabulary.
#[derive(Debug)]
pub(super) struct Markers {
    /// Sorted.
    texts: Vec<String>,
    finder: AhoCorasick,
}

impl Markers {
    /// Those of the vocabulary of `llama`.
    ///
    /// # Errors
    /// That there are too many to be found in a text.
    pub(super) fn new(llama: &LlamaModel) -> Result<Self, String> {
        let vocab = llama.vocab();
        let user_defined = vocab.tokens().filter(|token| {
            let attributes = vocab.attr(*token);
            attributes.contains(LlamaTokenAttr::UserDefined) && !vocab.is_control(*token)
        });
        // A token's text that is not UTF-8 occurs in no text.
        Self::among(user_defined.filter_map(|token| vocab.text(token)?.to_str().ok()))
    }

    /// Those among the user-defined tokens with these texts.
    ///
    /// # Errors
    /// That there are too many to be found in a text.
    pub(super) fn among<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        Self::of(texts.filter(|text| !is_text(text)).map(str::to_owned))
    }

    fn of(texts: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut texts: Vec<_> = texts.filter(|it| !it.is_empty()).collect();
        texts.sort_unstable();
        texts.dedup();
        let finder = AhoCorasick::new(&texts);
        Ok(Self {
            finder: finder.map_err(|error| format!("its vocabulary is unusual: {error}"))?,
            texts,
        })
    }

    /// Whether `text` is that of a mark.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.texts
            .binary_search_by(|it| it.as_str().cmp(text))
            .is_ok()
    }

    /// `text`, cut after the first character of every mark in it.
    pub(super) fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        // Marks may overlap, and be found in the order of their ends.
        let starts = self.finder.find_overlapping_iter(text);
        let mut cuts: Vec<_> = starts
            .map(|found| {
                found.start()
                    + text[found.start()..]
                        .chars()
                        .next()
                        .map_or(1, char::len_utf8)
            })
            .collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        cuts.dedup();
        let mut start = 0;
        cuts.into_iter()
            .map(move |end| &text[std::mem::replace(&mut start, end)..end])
    }
}

/// Whether a user-defined token is text: no brackets, or a tag of HTML.
fn is_text(token: &str) -> bool {
    let within = |open, close| token.strip_prefix(open)?.strip_suffix(close);
    let is_tag = |it: &str| TAGS.contains(&it.strip_prefix('/').unwrap_or(it));
    within('[', ']').is_none() && within('<', '>').is_none_or(is_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_tokens_that_stand_for_text() {
        for mark in [
            "<|tool_call>",
            "<tool_call|>",
            "<|\"|>",
            "<start_of_image>",
            "[multimodal]",
            "[@BOS@]",
            "<2mass>",
            "<mask>",
            "<unused7>",
        ] {
            assert!(!is_text(mark), "{mark}");
        }
        for text in [
            "\n\n\n",
            "\t",
            "\u{2581}\u{2581}",
            "<h1>",
            "</table>",
            "<code>",
            "the",
            "[",
        ] {
            assert!(is_text(text), "{text:?}");
        }
    }

    #[test]
    fn no_part_of_a_text_holds_a_mark_even_where_marks_overlap() {
        let marks = ["<|a|>", "|>b", "[é]", "é]<"];
        let markers = Markers::of(marks.iter().map(|&it| it.to_owned())).unwrap();
        for text in ["x<|a|>b<|a|>", "[é]<|a|>b", "|>|>b", "", "none", "<|a|"] {
            let parts: Vec<_> = markers.parts(text).collect();
            assert_eq!(parts.concat(), text);
            for (part, mark) in parts.iter().flat_map(|part| marks.map(|mark| (part, mark))) {
                assert!(!part.contains(mark), "{mark} in {parts:?}");
            }
        }
    }
}
