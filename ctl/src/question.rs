//! The question: words of the command line, standard input, or both.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use tokio::{io::AsyncReadExt, time::timeout};

use crate::{failure::Failure, terminal};

/// Most bytes read from standard input: more than any context holds, and a bus message still.
const LIMIT: u64 = 1 << 20;

/// How long a silent standard input is waited for before the user is told that it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The question made of `words` and standard input.
pub async fn read(words: &[String]) -> Result<String, Failure> {
    let dash = words == ["-"];
    let words = if dash { String::new() } else { words.join(" ") };
    let terminal = io::stdin().is_terminal();
    if terminal && !dash {
        return if words.is_empty() {
            Err(Failure::Usage(
                "there is no text. Write it on the command line, or pipe it in".into(),
            ))
        } else {
            Ok(words)
        };
    }
    let piped = text(standard_input(terminal).await?)?;
    Ok(join(words, piped.trim_end_matches(['\n', '\r'])))
}

async fn standard_input(terminal: bool) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut stdin = tokio::io::stdin().take(LIMIT + 1);
    let reading = stdin.read_to_end(&mut bytes);
    tokio::pin!(reading);
    let read = if let Ok(read) = timeout(PATIENCE, &mut reading).await {
        read
    } else {
        if !terminal {
            terminal::note(
                "gemmactl: waiting for standard input to end; add `< /dev/null` if there is none",
            );
        }
        reading.await
    };
    read.map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::Usage(
            "standard input is longer than 1 MiB, more than any model's context. Give a part of it"
                .into(),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        Failure::Usage(format!(
            "standard input is not UTF-8 text: byte {} is invalid. Convert it, for example with \
             `iconv -t UTF-8`",
            error.utf8_error().valid_up_to()
        ))
    })?;
    match text.find('\0') {
        // D-Bus strings cannot hold it.
        Some(place) => Err(Failure::Usage(format!(
            "standard input is not text: byte {place} is NUL. Give a text file"
        ))),
        None => Ok(text),
    }
}

fn join(words: String, piped: &str) -> String {
    match (words.is_empty(), piped.is_empty()) {
        (true, _) => piped.into(),
        (false, true) => words,
        (false, false) => format!("{words}\n\n{piped}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(bytes: Vec<u8>) -> String {
        match text(bytes) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_come_before_piped_text_with_a_blank_line_between() {
        assert_eq!(join("Summarise:".into(), "a\nb"), "Summarise:\n\na\nb");
        assert_eq!(join("Hello".into(), ""), "Hello");
        assert_eq!(join(String::new(), "a"), "a");
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_place() {
        assert!(refuse(b"caf\xe9 au lait".into()).contains("byte 3 is invalid"));
        assert!(refuse(b"ab\0c".into()).contains("byte 2 is NUL"));
    }

    #[test]
    fn a_mebibyte_is_read_and_a_byte_more_is_refused() {
        let most = vec![b'a'; 1 << 20];
        assert!(text(most.clone()).is_ok());
        assert!(refuse([most, b"a".into()].concat()).contains("longer than 1 MiB"));
    }
}
