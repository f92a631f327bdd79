//! A file that holds the bearer token of a server.

use std::path::Path;

use hyper::header::HeaderValue;
use serde::Deserialize;

use super::absolute::Absolute;
use crate::platform::file;

/// Most bytes of the file. Tokens have a few hundred bytes.
const LONGEST: usize = 65536;

/// The file. Its first line is the token. It is read for each request, so that the token can be changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Token(Absolute);

impl Token {
    /// The header that carries the token.
    ///
    /// # Errors
    /// When the file cannot be read or its first line is no token. The error names the file.
    pub(super) async fn bearer(&self) -> Result<HeaderValue, String> {
        let path = self.0.0.clone();
        let read = tokio::task::spawn_blocking(move || bearer(&path)).await;
        read.unwrap_or_else(|_| Err("the daemon is stopping".into()))
            .map_err(|why| format!("the token that it wants: {why}"))
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let text = file::read_text(path, LONGEST).map_err(|problem| problem.to_string())?;
    let token = text.lines().next().unwrap_or_default().trim();
    let named = |why: &str| format!("{}: {why}", file::shown(path));
    if token.is_empty() {
        return Err(named("its first line is empty; write the token there"));
    }
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| named("its first line has characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: &[u8]) -> Result<HeaderValue, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, bytes).unwrap();
        bearer(file.path())
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
    fn what_holds_no_token_is_refused() {
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
        let device = bearer(Path::new("/dev/zero")).unwrap_err();
        assert!(device.contains("/dev/zero: it is a device"), "{device}");
    }
}
