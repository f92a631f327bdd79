//! The text of a command: words of the command line, standard input, or both.

use std::io::{self, IsTerminal};

use rustix::{fs::tell, io::ioctl_fionread};

use crate::{failure::Failure, input::Source, terminal};

/// Whether standard input is part of the text: the last word is `-`, or there is no word at all.
/// Otherwise it is not read, so that a shell loop over the lines of standard input keeps them.
pub fn is_piped(words: &[String]) -> bool {
    words.last().is_none_or(|word| word == "-")
}

/// The text: `words`, followed by standard input if that is part of it.
pub async fn read(words: &[String]) -> Result<String, Failure> {
    if !is_piped(words) {
        return Ok(words.join(" "));
    }
    if words.is_empty() && io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no text. Write it on the command line, or pipe it in".into(),
        ));
    }
    let words = &words[..words.len().saturating_sub(1)];
    let piped = Source::Standard.text().await?;
    Ok(join(words.join(" "), piped.trim_end_matches(['\n', '\r'])))
}

fn join(words: String, piped: &str) -> String {
    match (words.is_empty(), piped.is_empty()) {
        (true, _) => piped.into(),
        (false, true) => words,
        (false, false) => format!("{words}\n\n{piped}"),
    }
}

/// Tells the user that standard input was not read, if it may have been meant: it is a pipe that holds
/// bytes, or a file at its beginning. In a shell loop over a file the position is further on.
pub fn tell_unread() {
    let stdin = io::stdin();
    // A pipe has no position.
    let goes_on = tell(&stdin).is_ok_and(|position| position > 0);
    let waits = ioctl_fionread(&stdin).is_ok_and(|bytes| bytes > 0);
    if !stdin.is_terminal() && !goes_on && waits {
        terminal::note(
            "gemmactl: standard input was not read. End the question with `-` to have it read, or add `< /dev/null`",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_before_piped_text_with_a_blank_line_between() {
        assert_eq!(join("Summarise:".into(), "a\nb"), "Summarise:\n\na\nb");
        assert_eq!(join("Hello".into(), ""), "Hello");
        assert_eq!(join(String::new(), "a"), "a");
    }

    #[test]
    fn standard_input_is_read_for_a_last_dash_or_for_want_of_words() {
        let is_piped = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            is_piped(&words)
        };
        for line in ["", "-", "Summarise this: -"] {
            assert!(is_piped(line), "{line}");
        }
        for line in ["Hello", "how much is 5 - 3", "- is a dash", "--"] {
            assert!(!is_piped(line), "{line}");
        }
    }
}
