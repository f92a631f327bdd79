//! `gemmactl ask`: a question, and its answer as it is generated.

use std::path::Path;

use gemmad_api::{AskOptions, Error, Event, ManagerProxy, Stats};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe::{Receiver, pipe},
};
use zbus::{Connection, Fd};

use crate::{
    args::{Ask, Bus},
    bus,
    failure::Failure,
    question, sound,
    statistics::{missing, summary},
    terminal::{self, Output},
};

/// Asks, and prints the answer.
pub async fn run(ask: Ask, bus: Bus) -> Result<(), Failure> {
    let question = question::read(&ask.text).await?;
    let options = options(&ask).await?;
    let answer = stream(&bus::connect(bus).await?, &question, options).await?;
    let mut output = Output::new();
    let outcome = print(answer, ask.json, &mut output).await;
    output.end_line().await?;
    let stats = outcome?;
    if let Some(missing) = missing(&stats) {
        terminal::note(&missing);
    }
    if ask.verbose {
        terminal::note(&summary(&stats));
    }
    Ok(())
}

async fn options(ask: &Ask) -> Result<AskOptions, Failure> {
    let audio = match &ask.audio {
        Some(path) => Some(sound::open(path).await?.into()),
        None => None,
    };
    let schema = match &ask.schema {
        Some(path) => Some(schema(path)?),
        None => None,
    };
    Ok(AskOptions {
        system: ask.system_prompt.clone(),
        audio,
        max_tokens: ask.max_tokens,
        min_tokens: ask.min_tokens,
        temperature: ask.temperature,
        top_k: ask.top_k,
        top_p: ask.top_p,
        seed: ask.seed,
        schema,
        thinking: ask.think.then_some(true),
    })
}

fn schema(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Sends the question; the answer comes out of the returned pipe.
async fn stream(
    connection: &Connection,
    question: &str,
    options: AskOptions,
) -> Result<Receiver, Failure> {
    let (sender, receiver) = pipe()
        .map_err(|error| Failure::Failed(format!("cannot make a pipe for the answer: {error}")))?;
    let manager = ManagerProxy::new(connection).await?;
    // Our own write end is dropped with this function: the pipe ends when the daemon closes its.
    manager.stream(question, options, Fd::from(&sender)).await?;
    Ok(receiver)
}

async fn print(answer: Receiver, json: bool, output: &mut Output) -> Result<Stats, Failure> {
    let mut lines = BufReader::new(answer).lines();
    while let Some(line) = lines.next_line().await.map_err(|error| garbled(&error))? {
        if json {
            output.line(&line).await?;
        }
        match serde_json::from_str(&line).map_err(|error| garbled(&error))? {
            Event::Text { text, .. } if !json => output.write(&text).await?,
            Event::Text { .. } => {}
            Event::Done(stats) => return Ok(stats),
            Event::Error { name, message } => return Err(Error::from_name(&name, message).into()),
        }
    }
    Err(Failure::WentAway)
}

fn garbled(error: &dyn std::error::Error) -> Failure {
    Failure::Failed(format!(
        "cannot understand the daemon's answer: {error}. Install gemmad and gemmactl of the same \
         version"
    ))
}
