//! The D-Bus objects. This room translates between the contract (`gemmad-api`) and the other rooms,
//! and nothing more.
//!
//! | file | owns |
//! |---|---|
//! | `commands` | `org.gemmad1.Commands` |
//! | `manager` | `org.gemmad1.Manager` |
//! | `voice` | `org.gemmad1.Voice` |
//! | `announce` | signals for what changes in other rooms |
//! | `bucket` | how often something may happen |
//! | `clients` | what each client holds, and whether it is still there |
//! | `authority` | who may manage the daemon |
//! | `question` | what is asked, measured before anything is done for it |
//! | `sound` | sound files that clients pass |
//! | `pipe` | answers as JSON lines on a client's descriptor |
//! | `socket` | what arrives from the bus, bounded |
//! | `traffic` | calls that are not answered yet, and replies that may not be read |
//! | `refusal` | errors of other rooms as errors of the contract |
//!
//! At each door the order is the same: what came is measured; a place is taken, or there is none; then the work is
//! done. So what clients send can neither fill the memory nor keep busy the threads that serve the others.

mod announce;
mod authority;
mod bucket;
mod clients;
mod commands;
mod manager;
mod pipe;
mod question;
mod refusal;
mod socket;
mod sound;
mod traffic;
mod voice;

use std::time::Duration;

use gemmad_api::{COMMANDS_PATH, MANAGER_PATH, SERVICE, VOICE_PATH};
use tokio::sync::{mpsc, watch};
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;
use zbus::{Address, Connection, Message};

use crate::commands::Commands;
use crate::config::Settings;
use crate::engine::Engine;
use crate::reload::Reloader;
use crate::voice::Voice;
use announce::Announcers;
use clients::Clients;
use manager::Manager;
use sound::Sounds;

/// What is served.
#[derive(Debug, Clone)]
pub struct Rooms {
    /// The configuration in force.
    pub settings: Settings,
    /// Who answers.
    pub engine: Engine,
    /// Who listens.
    pub voice: Voice,
    /// What may be asked for.
    pub commands: Commands,
    /// Who reads the configuration again.
    pub reloader: Reloader,
}

/// Which bus to serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The system bus: one daemon for the machine.
    System,
    /// The session bus: a desktop, or a test.
    Session,
}

/// Why the daemon could not be put on the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no bus, or it does not let us in.
    #[error(
        "cannot connect to the {which} bus: {source}; start D-Bus, or choose the other bus with or without --session"
    )]
    Unreachable {
        /// Which one.
        which: &'static str,
        /// Why.
        source: zbus::Error,
    },
    /// Somebody else has the name.
    #[error("the name {SERVICE} is taken on the {0} bus: gemmad is already running there")]
    NameTaken(&'static str),
    /// The name or the objects were refused.
    #[error(
        "cannot serve {SERVICE} on the {which} bus: {source}; its policy must allow this user to own the name, and \
         --session needs no policy"
    )]
    Refused {
        /// Which one.
        which: &'static str,
        /// Why.
        source: zbus::Error,
    },
}

/// How long the end waits for readers of answers, for answers to calls, and for what is left to be announced.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The daemon's place on the bus.
#[derive(Debug)]
pub struct Bus {
    connection: Connection,
    stopping: watch::Sender<bool>,
    clients: Clients,
    announcers: Announcers,
}

impl Bus {
    /// Serves the objects, then takes the name, so that whoever sees the name finds them.
    ///
    /// # Errors
    /// When there is no bus, or the name is not to be had.
    pub async fn serve(which: Which, rooms: Rooms) -> Result<Self, BusError> {
        let name = which.name();
        let refused = |source| BusError::Refused {
            which: name,
            source,
        };
        let (stopping, stopping_seen) = watch::channel(false);
        let clients = Clients::new(stopping_seen.clone());
        let connection = connect(which, &rooms, &clients, stopping_seen.clone())
            .await
            .map_err(|source| BusError::Unreachable {
                which: name,
                source,
            })?;
        clients.follow(&connection).await.map_err(refused)?;
        // Not queued: a second daemon says so instead of waiting for the first to end.
        connection
            .request_name_with_flags(SERVICE, RequestNameFlags::DO_NOT_QUEUE)
            .await
            .map_err(|source| match source {
                zbus::Error::NameTaken => BusError::NameTaken(name),
                source => refused(source),
            })?;
        let announcers = announce::start(&connection, &rooms, stopping_seen)
            .await
            .map_err(refused)?;
        log::info!(event = "started", bus = name; "serving {SERVICE}");
        Ok(Self {
            connection,
            stopping,
            clients,
            announcers,
        })
    }

    /// Waits until the bus is gone.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    /// Takes nothing new. What halts is still obeyed.
    pub fn take_nothing(&self) {
        self.stopping.send_replace(true);
    }

    /// Tells everybody that the daemon is going away.
    pub async fn announce_end(&self) {
        // A bus that is gone, or does not take anything, needs no telling.
        let _ = tokio::time::timeout(LAST_WORDS, announce::manager_state(&self.connection)).await;
    }

    /// Waits until every call is answered and the last line of every answer is with its reader, but not for readers
    /// that do not read.
    pub async fn answered(&self) {
        // Late or not, the daemon ends now.
        let _ = tokio::time::timeout(LAST_WORDS, self.clients.released()).await;
    }

    /// Announces what is left, and leaves. The name goes with the connection, so that no signal is sent without it,
    /// which the bus would give to those who may not listen to the daemon.
    pub async fn close(self) {
        // Late or not, the daemon ends now.
        let _ = tokio::time::timeout(LAST_WORDS, self.announcers.finish()).await;
        // A bus that is gone is left already.
        let _ = self.connection.close().await;
    }
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Session => "session",
        }
    }
}

/// A connection that serves the objects and has no name yet.
async fn connect(
    which: Which,
    rooms: &Rooms,
    clients: &Clients,
    stopping: watch::Receiver<bool>,
) -> zbus::Result<Connection> {
    let address = match which {
        Which::System => Address::system()?,
        Which::Session => Address::session()?,
    };
    let (socket, own) = socket::connect(&address).await?;
    let manager = Manager {
        which,
        settings: rooms.settings.clone(),
        engine: rooms.engine.clone(),
        reloader: rooms.reloader.clone(),
        clients: clients.clone(),
        sounds: Sounds::default(),
        stopping,
    };
    let voice = voice::Voice::new(rooms.voice.clone(), clients.clone());
    let commands = commands::Commands {
        commands: rooms.commands.clone(),
        clients: clients.clone(),
    };
    let connection = Builder::socket(socket)
        .serve_at(MANAGER_PATH, manager)
        .serve_at(VOICE_PATH, voice)
        .serve_at(COMMANDS_PATH, commands)
        .build()
        .await?;
    tokio::spawn(send(connection.clone(), own));
    Ok(connection)
}

/// Sends what the socket has to say by itself.
async fn send(connection: Connection, mut own: mpsc::Receiver<Message>) {
    while let Some(message) = own.recv().await {
        if let Err(error) = connection.send(&message).await {
            log::debug!("a message of the socket's own was not sent: {error}");
        }
    }
}
