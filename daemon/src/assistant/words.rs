//! The words heard so far: whether more of them are to come.

/// Whether a person who paused after these words probably goes on: they dictate numbers, or are inside a list.
pub fn may_go_on(text: &str) -> bool {
    let is_number = |word: &str| {
        let digits = word.trim_matches(|letter: char| letter.is_ascii_punctuation());
        !digits.is_empty() && digits.chars().all(char::is_numeric)
    };
    let mut words = text.split_whitespace().peekable();
    text.trim_end().ends_with(',') || words.peek().is_some() && words.all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_alone_and_lists_may_go_on_and_a_number_at_the_end_of_a_question_does_not() {
        for text in ["4 5 2.", "1", "0 1 7, 4", "milk, eggs,", "٣ ٤"] {
            assert!(may_go_on(text), "{text}");
        }
        for text in ["", ".", "What is 2 plus 2?", "Milk and eggs."] {
            assert!(!may_go_on(text), "{text}");
        }
    }
}
