//! A file that holds the secret with which a server is asked.

use std::io::{Error, Read};
use std::path::PathBuf;

use hyper::header::HeaderValue;
use rustix::fs::{Mode, OFlags, open};
use serde::Deserialize;

use super::Absolute;

/// Most bytes of the file that are read. Tokens have a few hundred.
const LONGEST: u64 = 65536;

/// The file, whose first line is the token. It is read each time, so that the token can be changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Token(Absolute);

impl Token {
    /// The header that carries the token.
    ///
    /// # Errors
    /// When the file cannot be read or its first line is no token; the file is named.
    pub(super) async fn bearer(&self) -> Result<HeaderValue, String> {
        let path = self.0.0.clone();
        let read = tokio::task::spawn_blocking(move || (bearer(&path), path));
        match read.await {
            Ok((Ok(value), _)) => Ok(value),
            Ok((Err(why), path)) => Err(format!("the token in {}: {why}", path.display())),
            Err(_) => Err("the daemon is stopping".into()),
        }
    }
}

fn bearer(path: &PathBuf) -> Result<HeaderValue, String> {
    let text = read(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err("its first line is empty; write the token there".into());
    }
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| "its first line has characters that no token has")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The beginning of the file. Whatever else has that name, such as a pipe, is not waited for.
fn read(path: &PathBuf) -> Result<String, String> {
    let plain = |error: Error| error.to_string();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(|error| plain(error.into()))?;
    let file = std::fs::File::from(file);
    if !file.metadata().map_err(plain)?.is_file() {
        return Err("it is no file".into());
    }
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(plain)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: &[u8]) -> Result<HeaderValue, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, bytes).unwrap();
        bearer(&file.path().to_owned())
    }

    #[test]
    fn a_token_is_the_first_line_without_what_editors_leave_around_it() {
        for bytes in [
            &b"secret"[..],
            b"secret\n",
            b"\xef\xbb\xbf secret \t\r\nmore\n",
        ] {
            assert_eq!(token(bytes).unwrap(), "Bearer secret", "{bytes:?}");
        }
    }

    #[test]
    fn what_holds_no_token_is_refused_and_a_pipe_is_not_waited_for() {
        for (bytes, why) in [
            (&b""[..], "is empty"),
            (b"\nsecret\n", "is empty"),
            (b"\xef\xbb\xbf \r\n", "is empty"),
            (b"se\x07cret", "characters that no token has"),
            (b"\xff", "UTF-8"),
        ] {
            let refused = token(bytes).unwrap_err();
            assert!(refused.contains(why), "{bytes:?}: {refused}");
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(bearer(&pipe), Err("it is no file".into()));
    }
}
