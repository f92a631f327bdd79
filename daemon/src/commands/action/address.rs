//! The URL of a resource of a server on this machine, with parameters in it.
//!
//! A value becomes a segment of the path, a part of one or a part of the query, and nothing else: reserved characters
//! in it are percent-encoded, such as `/` as `%2F`. It cannot choose the server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::Uri;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::error::ActionError;
use super::text::Text;
use crate::commands::{Arguments, Name, Parameter};

/// Characters that are percent-encoded in a value: all but the unreserved ones of RFC 3986.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Characters that are percent-encoded in the catalogue's text: those that no URL can hold.
const FIXED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The URL, such as `http://localhost:8123/api/{room}?level={level}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address {
    /// Addresses at which the server may listen.
    pub(super) sockets: Vec<SocketAddr>,
    /// Host and port of the server, as written in the URL.
    pub(super) host: String,
    /// The segments of the path, between its slashes.
    segments: Vec<Text>,
    query: Option<Text>,
}

impl Address {
    /// Checks that every parameter in it always has a value, and that the value is a text.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let mut texts = self.segments.iter().chain(&self.query);
        texts.try_for_each(|text| text.check(parameters))
    }

    /// Path and query with the values of `arguments`.
    ///
    /// # Errors
    /// When a value would make a segment of the path empty, `.` or `..`, which lead to another place.
    pub(super) fn fill(&self, arguments: &Arguments) -> Result<String, ActionError> {
        let mut filled = String::new();
        for segment in &self.segments {
            let text = encode(segment, arguments)?;
            if segment.fixed().is_none() && is_a_way(&text) {
                return Err(ActionError::Failed {
                    why: format!(
                        "http://{}: a value leads to another place than `url` says",
                        self.host
                    ),
                    said: text.into(),
                });
            }
            filled.push('/');
            filled.push_str(&text);
        }
        if let Some(query) = &self.query {
            filled.push('?');
            filled.push_str(&encode(query, arguments)?);
        }
        Ok(filled)
    }
}

fn encode(text: &Text, arguments: &Arguments) -> Result<String, ActionError> {
    let fixed = |text: &str| utf8_percent_encode(text, FIXED).to_string();
    let value = |text: String| utf8_percent_encode(&text, VALUE).to_string();
    Ok(text.fill_with(arguments, fixed, value)?)
}

/// Whether a segment of a path is empty, `.` or `..`, and so leads to the folder itself or to its parent.
fn is_a_way(segment: &str) -> bool {
    let segment = segment.replace("%2e", ".").replace("%2E", ".");
    matches!(segment.as_str(), "" | "." | "..")
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        let form = || format!("{url:?} is not of the form http://localhost:8123/path");
        let rest = url.strip_prefix("http://").ok_or_else(form)?;
        if rest.contains('#') {
            return Err(format!(
                "{url:?}: the part after `#` is never sent; leave it out"
            ));
        }
        let (server, place) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if server.contains(['{', '}']) {
            return Err(format!("{url:?}: no parameter can choose the server"));
        }
        let uri: Uri = format!("http://{server}").parse().map_err(|_| form())?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'));
        let authority = authority.ok_or_else(form)?;
        let addresses = loopback(authority.host()).ok_or_else(|| {
            format!("{url:?} is not on this machine; only localhost, 127.0.0.1 and [::1] are")
        })?;
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => 80,
            port => port.trim_start_matches(':').parse().map_err(|_| form())?,
        };
        let (path, query) = place
            .split_once('?')
            .map_or((place, None), |(path, query)| (path, Some(query)));
        let text = |text: &str| Text::try_from(text.to_owned());
        let segments = path
            .strip_prefix('/')
            .unwrap_or_default()
            .split('/')
            .map(text);
        Ok(Self {
            sockets: addresses.into_iter().map(|it| (it, port).into()).collect(),
            host: authority.to_string(),
            segments: segments.collect::<Result<_, _>>()?,
            query: query.map(text).transpose()?,
        })
    }
}

/// The loopback addresses of `host`; `None` for any other host. No resolver is asked, because it could return another
/// machine's address.
fn loopback(host: &str) -> Option<Vec<IpAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let address = host.trim_matches(['[', ']']).parse().ok();
    address.filter(IpAddr::is_loopback).map(|it| vec![it])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(url: &str) -> Result<Address, String> {
        Address::try_from(url.to_owned())
    }

    fn fill(place: &str, room: &str) -> Result<String, ActionError> {
        let arguments = serde_json::from_value(json!({"room": room, "level": -5})).unwrap();
        address(&format!("http://localhost{place}"))
            .unwrap()
            .fill(&arguments)
    }

    #[test]
    fn a_value_is_one_segment_or_one_value_whatever_it_holds() {
        let room = "a/b?c#d&e=f %2F+ü";
        let encoded = "a%2Fb%3Fc%23d%26e%3Df%20%252F%2B%C3%BC";
        for (place, filled) in [
            ("", "/"),
            ("/", "/"),
            ("?x", "/?x"),
            ("/a//b/", "/a//b/"),
            ("/light.{room}/on", &format!("/light.{encoded}/on")),
            (
                "/a?room={room}&level={level}&{{x}}=%20",
                &format!("/a?room={encoded}&level=-5&%7Bx%7D=%20"),
            ),
            ("/große Küche", "/gro%C3%9Fe%20K%C3%BCche"),
        ] {
            assert_eq!(fill(place, room).unwrap(), filled, "{place}");
            // As hyper takes it.
            filled.parse::<hyper::http::uri::PathAndQuery>().unwrap();
        }
    }

    #[test]
    fn no_value_leads_to_another_folder() {
        for (place, room) in [
            ("/api/{room}/x", ".."),
            ("/api/{room}/x", "."),
            ("/api/{room}", ""),
            ("/api/.{room}/x", "."),
            ("/api/%2E{room}/x", "."),
        ] {
            let refused = fill(place, room).unwrap_err().to_string();
            assert!(
                refused.contains("leads to another place"),
                "{place}: {refused}"
            );
        }
        assert_eq!(fill("/a/../{room}?{room}", "...").unwrap(), "/a/../...?...");
    }

    #[test]
    fn only_this_machine_has_addresses() {
        for url in [
            "http://localhost",
            "http://LOCALHOST?a={b}",
            "http://127.0.0.1:8123/a?b=c",
            "http://[::1]:80/",
            "http://127.1.2.3/",
        ] {
            assert!(address(url).is_ok(), "{url}");
        }
        for (url, why) in [
            ("http://example.org/", "is not on this machine"),
            ("http://localhost.example.org/", "is not on this machine"),
            ("http://192.168.1.2/", "is not on this machine"),
            ("http://localhost@example.org/", "is not of the form"),
            ("http://localhost:x/", "is not of the form"),
            ("http://localhost:/", "is not of the form"),
            ("http://localhost:65536/", "is not of the form"),
            ("https://localhost/", "is not of the form"),
            ("http:///x", "is not of the form"),
            ("/api", "is not of the form"),
            ("{room}://localhost/", "is not of the form"),
            ("http://{room}/", "no parameter can choose the server"),
            (
                "http://localhost:{room}/",
                "no parameter can choose the server",
            ),
            ("http://localhost/{room", "a brace too many"),
            ("http://localhost/{Room}", "is no name"),
            ("http://localhost/#{room}", "the part after `#`"),
        ] {
            let refused = address(url).unwrap_err();
            assert!(refused.contains(why), "{url}: {refused}");
        }
    }
}
