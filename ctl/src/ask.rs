//! `gemmactl ask`: a question, and its answer as it is generated.

use std::io::IsTerminal;
use std::path::PathBuf;

use gemmad_api::{AskOptions, CommandsProxy, Error, Event, ManagerProxy, Stats};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe::{Receiver, pipe},
};
use zbus::{Connection, Fd};

use crate::{
    args::Ask,
    bus::Way,
    conversations,
    failure::Failure,
    input::Source,
    prompt, question,
    statistics::{forgotten, missing, summary, whole},
    terminal::{self, Output},
};

/// Longest line, in bytes, that is taken for a command without an option that says so. What is longer was hardly typed.
const LONGEST_COMMAND: usize = 200;

/// The name of the model in the package, as its file gives it.
const NANO: &str = "Nano";

const GARBLED: Failure = Failure::Garbled("answer");

/// Asks, and prints the answer.
pub async fn run(ask: Ask, way: &Way) -> Result<(), Failure> {
    let reads_input = reads_input(&ask)?;
    let question = if asks_by_sound(&ask) {
        String::new()
    } else {
        question::read(&ask.text).await?
    };
    let mut options = options(&ask).await?;
    let wants_commands = gives_commands(&ask, &question);
    options.commands = wants_commands.then_some(true);
    let connection = way.connect().await?;
    options.conversation = conversations::wanted(&ask.conversation, &connection).await?;
    if ask.show_prompt {
        let manager = ManagerProxy::new(&connection).await?;
        let passages = manager.render(&question, options).await?;
        return prompt::show(&passages, ask.json).await;
    }
    let answer = stream(&connection, &question, options).await?;
    let mut output = Output::new();
    let outcome = print(answer, ask.json, &mut output).await;
    output.end_line().await?;
    let stats = outcome?;
    if let Some(missing) = missing(&stats) {
        terminal::note(&missing);
    }
    if let Some(forgotten) = forgotten(&stats) {
        terminal::note(&format!("gemmactl: {forgotten}"));
    }
    if wants_commands && lacks_commands(&ask, &connection).await? {
        terminal::note(
            "gemmactl: commands are switched off, so none was carried out. Set `enabled = true` under [commands] in gemmad.toml, and `gemmactl reload`",
        );
    }
    if ask.verbose {
        terminal::note(&summary(&stats));
    }
    if !reads_input {
        question::tell_unread();
    }
    if stats.undone {
        terminal::note(
            "gemmactl: not done; `gemmactl command` asks where a command must be confirmed",
        );
        return Err(Failure::NotDone);
    }
    whole(&stats)
}

/// Whether commands that the question asks for are carried out: as the options say, or else if a person has typed it here.
fn gives_commands(ask: &Ask, question: &str) -> bool {
    if ask.commands || ask.no_commands {
        return ask.commands;
    }
    // A script that uses the answer reads it.
    let is_shown = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let is_typed = is_shown && !question::is_piped(&ask.text);
    let is_line = question.len() <= LONGEST_COMMAND && !question.contains(char::is_control);
    is_typed && is_line && is_plain(ask)
}

/// Whether there are no commands although the person may have meant one: they were asked for, or the model knows little else.
async fn lacks_commands(ask: &Ask, connection: &Connection) -> Result<bool, Failure> {
    let commands = CommandsProxy::new(connection).await?;
    if commands.enabled().await? {
        return Ok(false);
    }
    let manager = ManagerProxy::new(connection).await?;
    Ok(ask.commands || manager.model().await? == NANO)
}

/// Whether the question has no option that commands do not go with.
fn is_plain(ask: &Ask) -> bool {
    let of_sampling = ask.temperature.is_some()
        || ask.top_k.is_some()
        || ask.top_p.is_some()
        || ask.seed.is_some();
    let of_form = ask.schema.is_some() || ask.think || ask.protocol;
    let of_prompt = ask.system_prompt.is_some() || ask.audio.is_some();
    !(of_sampling || of_form || of_prompt || ask.min_tokens.is_some())
}

/// Whether the question is sound only.
fn asks_by_sound(ask: &Ask) -> bool {
    ask.text.is_empty() && ask.audio.is_some()
}

/// Whether the question, the sound or the schema comes from standard input.
///
/// # Errors
/// [`Failure::Usage`] if more than one of them would.
fn reads_input(ask: &Ask) -> Result<bool, Failure> {
    let is_input =
        |path: &Option<PathBuf>| path.as_deref().map(Source::named) == Some(Source::Standard);
    let readers = [
        !asks_by_sound(ask) && question::is_piped(&ask.text),
        is_input(&ask.audio),
        is_input(&ask.schema),
    ];
    match readers.into_iter().filter(|reads| *reads).count() {
        count @ (0 | 1) => Ok(count == 1),
        _ => Err(Failure::Usage(
            "standard input can be read for one of question, sound and schema only. Put the others into files".into(),
        )),
    }
}

async fn options(ask: &Ask) -> Result<AskOptions, Failure> {
    let audio = match &ask.audio {
        Some(path) => Some(Source::named(path).sound().await?.into()),
        None => None,
    };
    let schema = match &ask.schema {
        Some(path) => Some(Source::named(path).text().await?),
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
        protocol: ask.protocol.then_some(true),
        conversation: None,
        commands: None,
    })
}

/// Sends the question; the answer comes out of the returned pipe.
pub async fn stream(
    connection: &Connection,
    question: &str,
    options: AskOptions,
) -> Result<Receiver, Failure> {
    let (sender, receiver) = pipe()
        .map_err(|error| Failure::Failed(format!("cannot make a pipe for the answer: {error}")))?;
    let manager = ManagerProxy::new(connection).await?;
    // This process's write end is dropped here, so that the pipe ends when the daemon closes its own.
    manager.stream(question, options, Fd::from(&sender)).await?;
    Ok(receiver)
}

/// Prints an answer as it comes, as text or as it is.
pub async fn print(answer: Receiver, json: bool, output: &mut Output) -> Result<Stats, Failure> {
    let mut lines = BufReader::new(answer).lines();
    while let Some(line) = lines.next_line().await.map_err(|_| GARBLED)? {
        if json {
            output.line(&line).await?;
        }
        match serde_json::from_str(&line).map_err(|_| GARBLED)? {
            Event::Text { text, .. } if !json => output.write(&text).await?,
            Event::Text { .. } => {}
            Event::Done(stats) => return Ok(stats),
            Event::Error { name, message } => return Err(Error::from_name(&name, message).into()),
        }
    }
    Err(Failure::WentAway)
}
