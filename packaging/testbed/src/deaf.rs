//! A client that sends and never reads.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};
use zbus::Message;

use crate::{Bus, Error};

/// A client of a bus that reads nothing after the greeting: no reply, no signal. Dropping it leaves the bus.
#[derive(Debug)]
pub struct Deaf(UnixStream);

impl Deaf {
    /// Connects to `bus`.
    ///
    /// # Errors
    /// The bus is gone, or does not accept this user.
    pub async fn connect(bus: &Bus) -> Result<Self, Error> {
        let path = bus.address().trim_start_matches("unix:path=");
        let path = path.split_once(',').map_or(path, |(path, _)| path);
        let stream = Self::greet(path).await;
        Ok(Self(stream.map_err(Error::file(Path::new(path)))?))
    }

    /// Authenticates and says hello, after the D-Bus specification, "Authentication Protocol" and "Bus names".
    async fn greet(path: &str) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(path).await?;
        let user = rustix::process::getuid().as_raw().to_string();
        // The text in hexadecimal: the ASCII code of a digit is 3 followed by the digit.
        let user: String = user.chars().flat_map(|digit| ['3', digit]).collect();
        let auth = format!("\0AUTH EXTERNAL {user}\r\n");
        stream.write_all(auth.as_bytes()).await?;
        let mut answer = String::new();
        // A larger buffer would read more than this line.
        let mut reader = BufReader::with_capacity(1, &mut stream);
        reader.read_line(&mut answer).await?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(format!("it said {answer:?}")));
        }
        stream.write_all(b"BEGIN\r\n").await?;
        let bus = "org.freedesktop.DBus";
        let hello = Message::method_call("/org/freedesktop/DBus", "Hello");
        let hello = hello.destination(bus).interface(bus).build(&());
        let hello = hello.map_err(io::Error::other)?;
        stream.write_all(hello.data()).await?;
        // The bus has begun its reply, so this client is registered.
        stream.read_exact(&mut [0; 16]).await?;
        Ok(stream)
    }

    /// Sends `messages` until the bus accepts none for `patience`; returns whether it accepted all.
    pub async fn send(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
        patience: Duration,
    ) -> bool {
        for message in messages {
            let sent = timeout(patience, self.0.write_all(message.data())).await;
            if !matches!(sent, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }
}
