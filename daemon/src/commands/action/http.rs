//! An action that makes an HTTP request of a server on this machine, such as a home's hub, with a body in JSON.
//!
//! Only this machine, for privacy: speech leaves it only through a program that the author of the catalogue chose.
//! Redirections are not followed, so a server cannot change that.

use std::collections::BTreeMap;
use std::io::{self, Error};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::address::Address;
use super::error::ActionError;
use super::job::{Job, Output, Timeout};
use super::shape::Shape;
use super::token::Token;
use crate::commands::{Name, Parameter};

/// A request to make.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    url: Address,
    #[serde(default)]
    method: Verb,
    /// The body; `None`: the whole command ([`Job::json`]).
    body: Option<Shape>,
    /// The file of the server's bearer token.
    token_file: Option<Token>,
    #[serde(default)]
    pub(super) timeout_ms: Timeout,
    #[serde(default)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// Its name in HTTP, and whether it has a body.
    fn written(self) -> (&'static str, bool) {
        match self {
            Self::Get => ("GET", false),
            Self::Post => ("POST", true),
            Self::Put => ("PUT", true),
            Self::Patch => ("PATCH", true),
            Self::Delete => ("DELETE", false),
        }
    }
}

impl Http {
    /// Checks that every parameter in it always has a value, and that its method takes its body.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        self.url.check(parameters)?;
        let (verb, has_body) = self.method.written();
        match &self.body {
            Some(_) if !has_body => Err(format!("{verb} has no `body`")),
            Some(body) => body.check(parameters),
            None => Ok(()),
        }
    }

    /// Makes the request and returns the body of the response.
    ///
    /// # Errors
    /// When there is no response, or its status is not 200 to 299.
    pub(super) async fn run(&self, job: Job<'_>) -> Result<String, ActionError> {
        let request = self.request(job).await?;
        let answer = self.talk(request).await;
        let (status, said) = answer.map_err(|error| self.failed(&error.to_string(), ""))?;
        if status.is_success() {
            return Ok(said);
        }
        Err(self.failed(&format!("it answered {status}"), &said))
    }

    async fn talk(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), Error> {
        let stream = TcpStream::connect(&*self.url.sockets).await?;
        let stream = Bounded {
            stream,
            left: LONGEST,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| because(&error))?;
        // The task ends with `sender`. The request reports any error of the connection, so none is lost here.
        tokio::spawn(connection);
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| because(&error))?;
        let status = answer.status();
        let said = self.output.keep(&self.read(answer).await?);
        Ok((status, said))
    }

    async fn request(&self, job: Job<'_>) -> Result<Request<Full<Bytes>>, ActionError> {
        let (verb, has_body) = self.method.written();
        let mut request = Request::builder()
            .method(verb)
            .uri(self.url.fill(&job.call.arguments)?)
            .header(header::HOST, &self.url.host);
        if let Some(token) = &self.token_file {
            let bearer = token.bearer().await.map_err(|why| self.failed(&why, ""))?;
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let body = match &self.body {
            _ if !has_body => String::new(),
            Some(body) => body.fill(&job.call.arguments)?.to_string(),
            None => job.json(),
        };
        if has_body {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(body.into());
        request.map_err(|error| self.failed(&error.to_string(), ""))
    }

    fn failed(&self, why: &str, said: &str) -> ActionError {
        ActionError::Failed {
            why: format!("http://{}: {why}", self.url.host),
            said: said.to_owned().into(),
        }
    }

    /// Reads the body, up to the bytes that are kept.
    async fn read(&self, mut answer: Response<Incoming>) -> Result<Vec<u8>, Error> {
        let mut said = Vec::new();
        while said.len() < self.output.0
            && let Some(frame) = answer.frame().await
        {
            said.extend(
                frame
                    .map_err(|error| because(&error))?
                    .into_data()
                    .unwrap_or_default(),
            );
        }
        Ok(said)
    }
}

/// The innermost cause of hyper's error.
fn because(error: &hyper::Error) -> Error {
    let mut why: &dyn std::error::Error = error;
    while let Some(source) = why.source() {
        why = source;
    }
    Error::other(why.to_string())
}

/// Most bytes that a server may send: 1 MiB, with headers and interim responses.
const LONGEST: usize = 1 << 20;

/// A connection that fails after [`LONGEST`] bytes. A server could send interim responses (1xx) for ever.
struct Bounded {
    stream: TcpStream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        let Some(left) = self.left.checked_sub(read) else {
            let why = format!("it sends more than {LONGEST} bytes");
            return Poll::Ready(Err(Error::other(why)));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::testing::{action, run};
    use super::*;

    /// The request that a server gets from this action, and the action's output when the server answers so.
    async fn asked(keys: &str, answer: &str) -> (String, Result<String, ActionError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = vec![0; 4096];
            let mut length = 0;
            let is_whole = |got: &[u8]| {
                let text = String::from_utf8_lossy(got);
                text.starts_with("GET") && text.ends_with("\r\n\r\n") || text.ends_with('}')
            };
            while !is_whole(&got[..length]) {
                let read = stream.read(&mut got[length..]).await.unwrap();
                assert!(read > 0);
                length += read;
            }
            // The client may have closed after it read enough.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8_lossy(&got[..length]).into_owned()
        };
        let action = format!(
            "action.http = {{ url = \"http://localhost:{port}/api/light.{{way}}?x={{word}}\", timeout_ms = 5000, {keys} }}"
        );
        tokio::join!(served, run(&action))
    }

    #[tokio::test]
    async fn a_request_holds_the_command_and_the_answer_comes_back() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nlight is on";
        let (request, said) = asked("", answer).await;
        assert_eq!(said.unwrap(), "light is on");
        assert!(
            request.starts_with("POST /api/light.up?x=-n%20%24%28id%29%3B%20%27x%27%20%22y%22%20%2A HTTP/1.1\r\nhost: localhost:"),
            "{request}"
        );
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(
            (&body["command"], &body["arguments"]["count"]),
            (&"test".into(), &3.into())
        );

        let (request, said) = asked("method = \"GET\", output = 5", answer).await;
        assert_eq!(said.unwrap(), "light");
        assert!(
            request.starts_with("GET ") && request.ends_with("\r\n\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_server_that_never_comes_to_its_answer_is_not_listened_to_for_ever() {
        let answer = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
        let (_, said) = asked("", &answer).await;
        let refused = said.unwrap_err().to_string();
        assert!(refused.contains("it sends more than"), "{refused}");
    }

    #[tokio::test]
    async fn a_body_keeps_types_and_a_token_is_read_from_its_file() {
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&token, "secret\n").unwrap();
        let keys = format!(
            r#"token_file = "{}", method = "PUT",
               body = {{ entity = "light.{{way}}", level = "{{count}}", said = ["{{word}}", true, 1] }}"#,
            token.path().display()
        );
        let (request, said) = asked(&keys, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(said.unwrap(), "");
        assert!(
            request.contains("authorization: Bearer secret\r\n"),
            "{request}"
        );
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let word = "-n $(id); 'x' \"y\" *";
        assert_eq!(
            body,
            serde_json::json!({"entity": "light.up", "level": 3, "said": [word, true, 1]})
        );
    }

    #[tokio::test]
    async fn an_error_of_the_server_and_one_that_is_not_there_are_failures() {
        let (_, said) = asked(
            "",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno lamp",
        )
        .await;
        let why = said.unwrap_err().told();
        assert!(why.ends_with("it answered 404 Not Found: no lamp"), "{why}");
        // Redirections are not followed.
        let (_, said) = asked(
            "",
            "HTTP/1.1 302 Found\r\nlocation: http://example.org\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        assert!(
            said.unwrap_err()
                .to_string()
                .ends_with("it answered 302 Found")
        );
        let refused = run("action.http = { url = \"http://127.0.0.1:9\" }")
            .await
            .unwrap_err();
        assert!(
            refused.to_string().starts_with("http://127.0.0.1:9: "),
            "{refused}"
        );

        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = format!(
            "action.http = {{ url = \"http://{}\", timeout_ms = 50 }}",
            silent.local_addr().unwrap()
        );
        assert_eq!(
            run(&text).await,
            Err(ActionError::TimedOut(Duration::from_millis(50)))
        );
    }

    #[tokio::test]
    async fn without_its_token_nothing_is_asked() {
        let token = tempfile::NamedTempFile::new().unwrap();
        let path = token.path().display();
        // No server listens there, and none is asked.
        let text =
            format!("action.http = {{ url = \"http://127.0.0.1:9\", token_file = \"{path}\" }}");
        let refused = run(&text).await.unwrap_err().to_string();
        let wanted =
            format!("http://127.0.0.1:9: the token that it wants: {path}: its first line is empty");
        assert!(refused.starts_with(&wanted), "{refused}");
    }

    #[test]
    fn what_can_never_be_sent_is_refused_with_its_line() {
        for (keys, why) in [
            (r#"url = "http://example.org/""#, "is not on this machine"),
            (
                r#"url = "http://{way}/""#,
                "no parameter can choose the server",
            ),
            (
                r#"url = "http://localhost/{colour}""#,
                "there is no parameter {colour}",
            ),
            (r#"url = "http://localhost/?{maybe}""#, "may be left out"),
            (r#"url = "http://localhost/{many}""#, "is a list"),
            (
                r#"url = "http://localhost/", method = "GET", body = { a = 1 }"#,
                "GET has no `body`",
            ),
            (
                r#"url = "http://localhost/", body = { a = "{maybe}" }"#,
                "may be left out",
            ),
            (
                r#"url = "http://localhost/", body = { a = ["{colour}"] }"#,
                "there is no parameter",
            ),
            (
                r#"url = "http://localhost/", body = { "{way}" = 1 }"#,
                "no parameter can be in it",
            ),
            (
                r#"url = "http://localhost/", token_file = "token""#,
                "no path from the root",
            ),
            (
                r#"url = "http://localhost/", token_file = "/etc/{way}""#,
                "no parameter can be in it",
            ),
        ] {
            let refused = action(&format!("action.http = {{ {keys} }}")).unwrap_err();
            assert!(refused.contains(why), "{keys}: {refused}");
            assert!(!refused.contains("enum"), "{keys}: {refused}");
        }
    }
}
