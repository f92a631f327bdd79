//! One question over the bus, timed by the client's clock.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use gemmad_api::{AskOptions, Event, Health, Stats, from_dict};
use gemmad_testbed::Daemon;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe::Receiver,
    time::interval,
};

/// An answer and its times.
pub struct Answer {
    /// The daemon's own statistics.
    pub stats: Stats,
    /// From the request to the first piece of text.
    pub first: Duration,
    /// From the first piece of text to the last.
    pub rest: Duration,
}

/// Asks `prompt`, with greedy sampling and at most `max_tokens`.
pub async fn ask(daemon: &Daemon, prompt: &str, max_tokens: u32) -> Result<Answer> {
    ask_in(daemon, None, prompt, max_tokens).await
}

/// Waits until the daemon has had nothing to do for a while.
pub async fn rest(daemon: &Daemon) -> Result<()> {
    const LOOKS: usize = 10;
    let (mut looks, mut idle) = (interval(Duration::from_millis(50)), 0);
    while idle < LOOKS {
        looks.tick().await;
        let health: Health = from_dict(&daemon.manager().health().await?)?;
        idle = if health.is_idle() { idle + 1 } else { 0 };
    }
    Ok(())
}

/// The same in a conversation.
pub async fn ask_in(
    daemon: &Daemon,
    conversation: Option<&str>,
    prompt: &str,
    max_tokens: u32,
) -> Result<Answer> {
    let options = AskOptions {
        conversation: conversation.map(Into::into),
        max_tokens: Some(max_tokens),
        temperature: Some(0.0),
        ..AskOptions::default()
    };
    let (reader, writer) = std::io::pipe()?;
    let mut lines = BufReader::new(Receiver::from_owned_fd(reader.into())?).lines();
    let asked = Instant::now();
    daemon
        .manager()
        .stream(prompt, options, writer.as_fd().into())
        .await?;
    drop(writer);
    let (mut first, mut last) = (None, Duration::ZERO);
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Event::Text { .. } => {
                last = asked.elapsed();
                first.get_or_insert(last);
            }
            Event::Done(stats) => {
                let Some(first) = first else {
                    bail!("the answer to {prompt:?} is empty");
                };
                let rest = last.saturating_sub(first);
                return Ok(Answer { stats, first, rest });
            }
            Event::Error { name, message } => bail!("{name}: {message}"),
        }
    }
    bail!("the answer to {prompt:?} broke off");
}
