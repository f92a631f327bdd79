//! `org.gemmad1.Commands`.

use std::path::Path;

use gemmad_api::{
    CommandInfo, Dict, Error, InvocationStatus, InvokeOptions, Options, Outcome, to_dict,
};
use serde::Serialize;
use serde_json::{Value, json};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::clients::{Clients, Kind};
use super::{question, refusal};
use crate::commands::{self, Catalogue, CommandError, Event, Invocation, Origin, Reading};

/// The object.
pub(super) struct Commands {
    pub commands: commands::Commands,
    pub clients: Clients,
}

#[interface(name = "org.gemmad1.Commands")]
impl Commands {
    /// The commands in force, sorted by name.
    #[zbus(out_args("commands"))]
    fn list(&self) -> Result<Vec<Dict>, Error> {
        let force = self.commands.force();
        let force = force.ok_or_else(|| refusal::command(&CommandError::Off))?;
        Ok(listed(&force.catalogue))
    }

    /// Reads `text` as a file of the catalogue; returns its commands.
    #[zbus(out_args("commands"))]
    #[allow(clippy::unused_self)] // A method is called on its object.
    fn check(&self, name: &str, text: &str) -> Result<Vec<Dict>, Error> {
        Catalogue::parse(Path::new(name), text)
            .map(|catalogue| listed(&catalogue))
            .map_err(|error| Error::InvalidConfiguration(error.to_string()))
    }

    /// Makes out what `text` asks for and invokes it.
    #[zbus(out_args("outcome", "text", "commands", "stats"))]
    async fn invoke(
        &self,
        text: &str,
        options: Options<InvokeOptions>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Outcome, String, Vec<gemmad_api::Invocation>, Dict), Error> {
        // Before anything is waited for: a halt that comes meanwhile is meant for this too.
        let arrival = self.commands.arrival();
        question::check_length(text)?;
        let dry_run = options.read()?.dry_run.unwrap_or(false);
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        call.while_there(async {
            let user = self.clients.user(connection, &header).await?.name;
            let origin = Origin::Text { user };
            let invoked = self.commands.invoke(text.into(), &origin, arrival, dry_run);
            let invoked = invoked.await;
            let (reading, stats) = invoked.map_err(|error| refusal::command(&error))?;
            let (outcome, text, commands) = match reading {
                Reading::Commands { invocations, words } => {
                    (Outcome::Commands, words, translate(invocations))
                }
                Reading::Question(text) => (Outcome::Question, text, Vec::new()),
                Reading::Words(text) => (Outcome::Nothing, text, Vec::new()),
            };
            Ok((outcome, text, commands, to_dict(&stats)))
        })
        .await
    }

    /// Invokes the command that waits under this number, and those that were said after it.
    #[zbus(out_args("commands"))]
    async fn confirm(
        &self,
        id: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<gemmad_api::Invocation>, Error> {
        let user = self.clients.user(connection, &header).await?.name;
        translated(self.commands.confirm(id, &Origin::Text { user }).await)
    }

    /// Cancels all that waits and runs, and invokes every command that halts, without the model.
    #[zbus(out_args("commands"))]
    async fn halt(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<gemmad_api::Invocation>, Error> {
        let user = self.clients.user_soon(connection, &header).await;
        Ok(translate(self.commands.halt(&Origin::Text { user })))
    }

    /// Whether there are commands.
    #[zbus(property)]
    fn enabled(&self) -> bool {
        self.commands.force().is_some()
    }

    /// This is to be done now.
    #[zbus(signal)]
    async fn invoked(
        emitter: &SignalEmitter<'_>,
        id: u64,
        name: &str,
        arguments_json: &str,
        details: Dict,
    ) -> zbus::Result<()>;

    /// This waits for `Confirm`.
    #[zbus(signal)]
    async fn unconfirmed(
        emitter: &SignalEmitter<'_>,
        id: u64,
        name: &str,
        arguments_json: &str,
        details: Dict,
    ) -> zbus::Result<()>;

    /// Its action has ended.
    #[zbus(signal)]
    async fn finished(
        emitter: &SignalEmitter<'_>,
        id: u64,
        status: InvocationStatus,
        details: Dict,
    ) -> zbus::Result<()>;

    /// It waited for `Confirm` and will not be done.
    #[zbus(signal)]
    async fn dropped(
        emitter: &SignalEmitter<'_>,
        id: u64,
        status: InvocationStatus,
        details: Dict,
    ) -> zbus::Result<()>;
}

/// Signals an event.
///
/// # Errors
/// When the bus is gone.
pub(super) async fn signal(emitter: &SignalEmitter<'_>, event: Event) -> zbus::Result<()> {
    match event {
        Event::Invoked(Invocation { id, call, .. }, origin) => {
            let details = details(origin, None);
            Commands::invoked(emitter, id, &call.name, &call.arguments_json(), details).await
        }
        Event::Unconfirmed(Invocation { id, call, .. }, origin) => {
            let details = details(origin, None);
            Commands::unconfirmed(emitter, id, &call.name, &call.arguments_json(), details).await
        }
        Event::Finished(invocation, origin) => {
            // A person who wrote gets the result as the reply to `Invoke`; it is nobody else's.
            let result = matches!(origin, Origin::Voice { .. }).then_some(invocation.result);
            let details = details(origin, result);
            Commands::finished(emitter, invocation.id, invocation.status, details).await
        }
        Event::Dropped(invocation, origin) => {
            let details = details(origin, None);
            Commands::dropped(emitter, invocation.id, invocation.status, details).await
        }
    }
}

/// Where a command came from, and what came of it, on the bus.
#[derive(Debug, Serialize)]
struct Details {
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utterance: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

fn details(origin: Origin, result: Option<String>) -> Dict {
    let (origin, user, utterance) = match origin {
        Origin::Text { user } => ("text", Some(user), None),
        Origin::Voice { utterance } => ("voice", None, utterance),
        Origin::Daemon => ("daemon", None, None),
    };
    to_dict(&Details {
        origin,
        user,
        utterance,
        result,
    })
}

fn translated(
    outcome: Result<Vec<Invocation>, CommandError>,
) -> Result<Vec<gemmad_api::Invocation>, Error> {
    outcome
        .map(translate)
        .map_err(|error| refusal::command(&error))
}

fn translate(invocations: Vec<Invocation>) -> Vec<gemmad_api::Invocation> {
    let invocations = invocations.into_iter();
    let translated = invocations.map(|it| gemmad_api::Invocation {
        id: it.id,
        arguments: it.call.arguments_json(),
        name: it.call.name,
        status: it.status,
        result: it.result,
    });
    translated.collect()
}

fn listed(catalogue: &Catalogue) -> Vec<Dict> {
    let commands = catalogue.commands.iter();
    let listed = commands.map(|(name, command)| {
        let examples = command.examples.iter();
        let examples = examples.map(|example| match &example.call {
            Some(arguments) => json!({"say": example.say.as_str(), "arguments": arguments}),
            None => json!({"say": example.say.as_str()}),
        });
        to_dict(&CommandInfo {
            name: name.to_string(),
            description: command.description.to_string(),
            parameters: command.schema().to_string(),
            examples: examples.collect::<Value>().to_string(),
            confirm: command.confirm,
            dangerous: command.dangerous,
            halts: command.halts,
        })
    });
    listed.collect()
}
