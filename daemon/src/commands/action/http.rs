//! An action that makes a request of a server on this machine, such as a home's hub, with JSON for its body.
//!
//! Only of this machine: what people say in a room is nobody else's business, and leaves it only by a program that
//! whoever wrote the catalogue chose. Redirections are not followed, so a server cannot change that.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;

use super::text::{Text, always};
use super::{Absolute, ActionError, Job, Output, Timeout};
use crate::commands::{Arguments, Name, Parameter};

/// A request to make.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    url: Local,
    #[serde(default)]
    method: Verb,
    /// What is sent; without it, all there is to know about the command.
    body: Option<Shape>,
    /// A file whose first line is sent as the bearer of authority, read each time.
    token_file: Option<Absolute>,
    #[serde(default)]
    pub(super) timeout_ms: Timeout,
    #[serde(default)]
    output: Output,
}

/// The address of something that a server on this machine serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Local {
    addresses: Vec<SocketAddr>,
    /// As it stands in the address: the name and the port.
    host: String,
    path: String,
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

/// A value of JSON. Texts may have parameters in them; a parameter alone has its own type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Shape {
    Text(Text),
    Boolean(bool),
    Integer(i64),
    Number(f64),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
}

impl Shape {
    fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        match self {
            Self::Text(text) => match text.whole() {
                Some(name) => always(name, parameters).map(|_| ()),
                None => text.check(parameters),
            },
            Self::List(values) => values.iter().try_for_each(|it| it.check(parameters)),
            Self::Table(values) => values.values().try_for_each(|it| it.check(parameters)),
            Self::Boolean(_) | Self::Integer(_) | Self::Number(_) => Ok(()),
        }
    }

    fn fill(&self, arguments: &Arguments) -> Value {
        match self {
            Self::Text(text) => match text.whole().and_then(|name| arguments.get(name.as_str())) {
                Some(value) => value.clone(),
                None => text.fill(arguments).into(),
            },
            Self::Boolean(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::List(values) => values.iter().map(|it| it.fill(arguments)).collect(),
            Self::Table(values) => {
                let filled = |(key, it): (&String, &Self)| (key.clone(), it.fill(arguments));
                Value::Object(values.iter().map(filled).collect())
            }
        }
    }
}

impl Verb {
    /// As HTTP writes it, and whether a body belongs to it.
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

impl TryFrom<String> for Local {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'));
        let (Some("http"), Some(authority)) = (uri.scheme_str(), authority) else {
            return Err(format!(
                "{url:?} is not of the form http://localhost:8123/path"
            ));
        };
        let port = authority.port_u16().unwrap_or(80);
        let addresses = loopback(authority.host()).ok_or_else(|| {
            format!("{url:?} is not on this machine; only localhost, 127.0.0.1 and [::1] are")
        })?;
        Ok(Self {
            addresses: addresses.into_iter().map(|it| (it, port).into()).collect(),
            host: authority.to_string(),
            path: uri.path_and_query().map_or("/".into(), ToString::to_string),
        })
    }
}

/// The addresses of a name for this machine. No resolver is asked, which could be told another.
fn loopback(host: &str) -> Option<Vec<IpAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let address = host.trim_matches(['[', ']']).parse().ok();
    address.filter(IpAddr::is_loopback).map(|it| vec![it])
}

impl Http {
    /// Checks that there is a value for every parameter in it, and a place for its body.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let (verb, has_body) = self.method.written();
        match &self.body {
            Some(_) if !has_body => Err(format!("{verb} has no `body`")),
            Some(body) => body.check(parameters),
            None => Ok(()),
        }
    }

    /// Makes the request and returns the body of the answer.
    ///
    /// # Errors
    /// When nobody answers, or with a status other than 200 to 299.
    pub(super) async fn run(&self, job: Job<'_>) -> Result<String, ActionError> {
        let told = self.talk(job).await;
        told.map_err(|error| ActionError::Failed(format!("http://{}: {error}", self.url.host)))
    }

    async fn talk(&self, job: Job<'_>) -> Result<String, Error> {
        let request = self.request(job).await?;
        let stream = TcpStream::connect(&*self.url.addresses).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Error::other)?;
        // Ends with `sender`, and whatever it ends with is what the request ends with too.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(Error::other)?;
        let status = answer.status();
        let said = self.output.keep(&self.read(answer).await?);
        if status.is_success() {
            return Ok(said);
        }
        let why = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        Err(Error::other(format!("it answered {status}{why}")))
    }

    async fn request(&self, job: Job<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let (verb, has_body) = self.method.written();
        let mut request = Request::builder()
            .method(verb)
            .uri(&self.url.path)
            .header(header::HOST, &self.url.host);
        if let Some(Absolute(path)) = &self.token_file {
            let named =
                |error| Error::new(ErrorKind::NotFound, format!("{}: {error}", path.display()));
            let token = tokio::fs::read_to_string(path).await.map_err(named)?;
            let token = token.lines().next().unwrap_or_default();
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match &self.body {
            _ if !has_body => String::new(),
            Some(body) => body.fill(&job.call.arguments).to_string(),
            None => job.json(),
        };
        if has_body {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(body.into()).map_err(Error::other)
    }

    /// As much of an answer as is kept.
    async fn read(&self, mut answer: Response<Incoming>) -> Result<Vec<u8>, Error> {
        let mut said = Vec::new();
        while said.len() < self.output.0
            && let Some(frame) = answer.frame().await
        {
            said.extend(frame.map_err(Error::other)?.into_data().unwrap_or_default());
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::testing::{action, run};
    use super::*;

    /// What a server gets when this action runs and it answers so, and what the action says.
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
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&got[..length]).into_owned()
        };
        let action = format!(
            "action.http = {{ url = \"http://localhost:{port}/api/light?x=1\", timeout_ms = 5000, {keys} }}"
        );
        tokio::join!(served, run(&action))
    }

    #[tokio::test]
    async fn a_request_holds_the_command_and_the_answer_comes_back() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nlight is on";
        let (request, said) = asked("", answer).await;
        assert_eq!(said.unwrap(), "light is on");
        assert!(
            request.starts_with("POST /api/light?x=1 HTTP/1.1\r\nhost: localhost:"),
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
        let why = said.unwrap_err().to_string();
        assert!(why.ends_with("it answered 404 Not Found: no lamp"), "{why}");
        // Nor is it followed anywhere else.
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

    #[test]
    fn only_this_machine_is_asked() {
        let read = |keys: &str| action(&format!("action.http = {{ {keys} }}"));
        for url in [
            "http://localhost",
            "http://127.0.0.1:8123/a?b=c",
            "http://[::1]:80/",
            "http://127.1.2.3/",
        ] {
            let accepted = read(&format!("url = \"{url}\""));
            assert!(accepted.is_ok(), "{url}: {accepted:?}");
        }
        for (keys, why) in [
            (r#"url = "http://example.org/""#, "is not on this machine"),
            (
                r#"url = "http://localhost.example.org/""#,
                "is not on this machine",
            ),
            (r#"url = "http://192.168.1.2/""#, "is not on this machine"),
            (
                r#"url = "http://localhost@example.org/""#,
                "is not of the form",
            ),
            (r#"url = "https://localhost/""#, "is not of the form"),
            (r#"url = "/api""#, "is not of the form"),
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
                r#"url = "http://localhost/", token_file = "token""#,
                "no path from the root",
            ),
        ] {
            let refused = read(keys).unwrap_err();
            assert!(refused.contains(why), "{keys}: {refused}");
        }
    }
}
