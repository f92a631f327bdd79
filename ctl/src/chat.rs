//! `gemmactl chat`: one question after the other, in one conversation.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use gemmad_api::{AskOptions, ConversationsProxy, Error};
use rustyline::{Config, DefaultEditor, error::ReadlineError};
use zbus::Connection;

use crate::{
    args::Chat,
    ask,
    bus::Way,
    conversations,
    failure::Failure,
    interrupt::until_interrupted,
    statistics::{cut, forgotten, summary},
    terminal::{self, Output},
};

const HELP: &str = "\
A line is a question; several lines that are pasted are one. Ctrl-C stops an answer, Ctrl-D ends the chat.
/reset      forget what was said so far
/save FILE  write it into a new file, by its whole path
/help       this";

/// Reads questions and prints their answers, until the end of the input.
pub async fn run(chat: Chat, way: &Way) -> Result<(), Failure> {
    let connection = way.connect().await?;
    let name = match conversations::wanted(&chat.conversation, &connection).await? {
        Some(name) => name,
        None => conversations::new(),
    };
    let session = Session {
        connection,
        name,
        chat,
    };
    let mut input = Input::new()?;
    loop {
        let typed;
        (typed, input) = input.read().await?;
        match typed {
            Typed::Line(line) => session.follow(line.trim()).await?,
            Typed::Interrupted => terminal::note("Ctrl-D ends the chat"),
            Typed::Garbled => terminal::note("gemmactl: that was no UTF-8, and was not sent"),
            Typed::End => return Ok(()),
        }
    }
}

struct Session {
    connection: Connection,
    name: String,
    chat: Chat,
}

impl Session {
    /// Does as the line says. Only a failure that the next question would have too ends the chat.
    async fn follow(&self, line: &str) -> Result<(), Failure> {
        let done = match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => Ok(()),
            ("/help", "") => {
                terminal::note(HELP);
                Ok(())
            }
            ("/reset", "") => self.reset().await,
            ("/save", path) if !path.trim().is_empty() => self.save(Path::new(path.trim())).await,
            (command, _) if command.starts_with('/') => {
                terminal::note(&format!(
                    "gemmactl: {command} is unknown. /help lists what is known"
                ));
                Ok(())
            }
            // D-Bus strings cannot hold it.
            _ if line.contains('\0') => Err(Failure::Failed(
                "a line with a NUL byte was not sent".into(),
            )),
            _ => self.ask(line).await,
        };
        match done {
            Err(Failure::Refused(why) | Failure::Failed(why) | Failure::Cancelled(why)) => {
                terminal::note(&format!("gemmactl: {why}"));
                Ok(())
            }
            Err(Failure::Interrupted) => Ok(()),
            done => done,
        }
    }

    async fn ask(&self, question: &str) -> Result<(), Failure> {
        let options = AskOptions {
            conversation: Some(self.name.clone()),
            system: self.chat.system_prompt.clone(),
            ..AskOptions::default()
        };
        let mut output = Output::new();
        // Interrupted, the answer is dropped; the daemon remembers what was printed.
        let answered = until_interrupted(async {
            let answer = ask::stream(&self.connection, question, options).await?;
            ask::print(answer, false, &mut output).await
        });
        let answered = answered.await;
        output.end_line().await?;
        let stats = answered?;
        for remark in [forgotten(&stats), cut(&stats)].into_iter().flatten() {
            terminal::note(&format!("gemmactl: {remark}"));
        }
        if self.chat.verbose {
            terminal::note(&summary(&stats));
        }
        Ok(())
    }

    async fn reset(&self) -> Result<(), Failure> {
        let proxy = ConversationsProxy::new(&self.connection).await?;
        match proxy.forget(&self.name).await {
            // Nothing was said yet.
            Err(Error::InvalidArgument(_)) => Ok(()),
            done => Ok(done?),
        }
    }

    async fn save(&self, path: &Path) -> Result<(), Failure> {
        let proxy = ConversationsProxy::new(&self.connection).await?;
        let text = conversations::text(&proxy.read(&self.name).await?);
        // What was said is nobody else's, and nothing is overwritten.
        let mut file = File::options();
        let file = file.write(true).create_new(true).mode(0o600).open(path);
        let saved = file.and_then(|mut file| file.write_all(text.as_bytes()));
        saved.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
    }
}

/// What was typed.
enum Typed {
    Line(String),
    Interrupted,
    /// It was no UTF-8.
    Garbled,
    End,
}

/// The editor of lines.
struct Input(DefaultEditor);

impl Input {
    fn new() -> Result<Self, Failure> {
        let config = Config::builder().auto_add_history(true).build();
        let editor = DefaultEditor::with_config(config);
        editor.map(Self).map_err(|error| unusable(&error))
    }

    /// Reads a line on a thread of its own, since the terminal may take its time.
    async fn read(mut self) -> Result<(Typed, Self), Failure> {
        let reading = tokio::task::spawn_blocking(move || {
            let line = self.0.readline("> ");
            (line, self)
        });
        let (line, input) = reading
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let typed = match line {
            Ok(line) => Typed::Line(line),
            Err(ReadlineError::Interrupted) => Typed::Interrupted,
            Err(ReadlineError::Eof) => Typed::End,
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                Typed::Garbled
            }
            Err(error) => return Err(unusable(&error)),
        };
        Ok((typed, input))
    }
}

fn unusable(error: &ReadlineError) -> Failure {
    Failure::Usage(format!("standard input cannot be read: {error}"))
}
