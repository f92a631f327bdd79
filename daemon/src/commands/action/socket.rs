//! An action that writes the command as one line of JSON to a Unix socket, and reads one line back if `reply` is set.

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::absolute::Absolute;
use super::error::ActionError;
use super::job::{Job, Output, Timeout};

/// A socket to write to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// The socket's path.
    path: Absolute,
    /// Whether to read a line back. If none comes, the command has failed.
    #[serde(default)]
    reply: bool,
    #[serde(default)]
    pub(super) timeout_ms: Timeout,
    #[serde(default)]
    output: Output,
}

impl Socket {
    /// Writes the command, and returns the line that came back.
    ///
    /// # Errors
    /// When the socket cannot be connected or written to, or an expected line does not come back.
    pub(super) async fn run(&self, job: Job<'_>) -> Result<String, ActionError> {
        let Absolute(path) = &self.path;
        let said = self.talk(job.json() + "\n").await;
        said.map_err(|error| ActionError::failed(format!("{}: {error}", path.display())))
    }

    async fn talk(&self, line: String) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.path.0).await?;
        stream.write_all(line.as_bytes()).await?;
        if !self.reply {
            stream.shutdown().await?;
            return Ok(String::new());
        }
        let Output(most) = self.output;
        let mut line = Vec::new();
        let mut reader = BufReader::new(stream.take(most as u64));
        reader.read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(std::io::Error::other(
                "it closed the connection without a line",
            ));
        }
        Ok(self.output.keep(&line))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::UnixListener;

    use super::super::testing::{action, run};
    use super::*;

    fn text(path: &std::path::Path, reply: bool) -> String {
        format!(
            "action.socket = {{ path = \"{}\", reply = {reply}, timeout_ms = 500 }}",
            path.display()
        )
    }

    #[tokio::test]
    async fn a_line_goes_there_and_a_line_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("robot");
        let listener = UnixListener::bind(&path).unwrap();
        let served = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            stream.write_all(b"there in 3 s\nand more").await.unwrap();
            line
        };
        let action = text(&path, true);
        let (reply, line) = tokio::join!(run(&action), served);
        assert_eq!(reply.unwrap(), "there in 3 s");
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["arguments"]["count"], 3);
        assert!(line.ends_with("}\n"));

        // The listener accepts no more connections, but the kernel still takes the line.
        assert_eq!(run(&text(&path, false)).await.unwrap(), "");
        let late = run(&text(&path, true)).await;
        assert_eq!(late, Err(ActionError::TimedOut(Duration::from_millis(500))));
        drop(listener);
        let refused = run(&text(&path, false)).await.unwrap_err().to_string();
        assert!(refused.contains("robot: Connection refused"), "{refused}");
    }

    #[test]
    fn a_path_begins_at_the_root() {
        let refused = action("action.socket = { path = \"robot\" }").unwrap_err();
        assert!(refused.contains("no path from the root"), "{refused}");
        let refused = action("action.socket = { path = \"/run/{way}\" }").unwrap_err();
        assert!(refused.contains("no parameter can be in it"), "{refused}");
    }
}
