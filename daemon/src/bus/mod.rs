//! The D-Bus objects. This room only translates between the contract (`gemmad-api`) and the other
//! rooms.
//!
//! | file | owns |
//! |---|---|
//! | `commands` | `org.gemmad1.Commands` |
//! | `conversations` | `org.gemmad1.Conversations` |
//! | `manager` | `org.gemmad1.Manager` |
//! | `timers` | `org.gemmad1.Timers` |
//! | `voice` | `org.gemmad1.Voice` |
//! | `announce` | signals for changes and events in other rooms |
//! | `bucket` | a limit of the rate of events |
//! | `clients` | the resources that each client holds, its user, and whether it is still there |
//! | `authority` | permission to manage the daemon |
//! | `question` | questions, measured before any work is done for them |
//! | `sound` | sound files that clients pass |
//! | `pipe` | answers as JSON lines on a client's descriptor |
//! | `socket` | the socket to the bus, with limits on incoming messages |
//! | `raw` | bytes and descriptors on the socket |
//! | `post` | the messages to the bus, from the decision about each to the socket |
//! | `outbox` | the order in which messages are sent |
//! | `traffic` | calls that are not answered yet, and replies that clients may not have read |
//! | `rooms`, `which` | the rooms that the objects lead to, and the bus they are on |
//! | `terms` | the daemon's terms in those of the contract |
//! | `refusal` | errors of other rooms as errors of the contract |
//!
//! Each call is handled in the same order: its input is measured; a place is taken or refused; then the work is done.
//! So clients can neither fill the memory nor occupy the thread that serves them all.

mod announce;
mod authority;
mod bucket;
mod clients;
mod commands;
mod conversations;
mod manager;
mod outbox;
mod pipe;
mod post;
mod question;
mod raw;
mod refusal;
mod rooms;
mod socket;
mod sound;
mod terms;
mod timers;
mod traffic;
mod voice;
mod which;

use std::time::Duration;

use gemmad_api::{
    COMMANDS_PATH, CONVERSATIONS_PATH, MANAGER_PATH, SERVICE, TIMERS_PATH, VOICE_PATH,
};
use tokio::sync::watch;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;
use zbus::{Address, Connection};

use announce::Announcers;
use clients::Clients;
use manager::Manager;
use sound::Sounds;

pub use rooms::Rooms;
pub use which::Which;

/// Why the daemon could not be put on the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no bus, or it refuses the connection.
    #[error(
        "cannot connect to the {which} bus: {source}; start D-Bus, or choose the other bus with or without --session"
    )]
    Unreachable {
        /// Which one.
        which: &'static str,
        /// Why.
        source: zbus::Error,
    },
    /// Another process owns the name.
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

/// Longest wait at the daemon's end, each for announcing it, for the answers to calls and their readers, and for the
/// last announcements.
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
    /// Serves the objects, then takes the name, so that clients that see the name find the objects.
    ///
    /// # Errors
    /// When there is no bus, or the name is taken or refused.
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
        // Not queued: a second daemon fails instead of waiting for the first to end.
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

    /// Refuses new work from now on. `Halt` is still obeyed.
    pub fn take_nothing(&self) {
        self.stopping.send_replace(true);
    }

    /// Announces that the daemon is stopping.
    pub async fn announce_end(&self) {
        // A bus that is gone or reads nothing cannot be told.
        let _ = tokio::time::timeout(LAST_WORDS, announce::manager_state(&self.connection)).await;
    }

    /// Waits, for 500 ms at most, until every call is answered and the last line of every answer is written to its
    /// reader.
    pub async fn answered(&self) {
        // The daemon ends even if the time is over.
        let _ = tokio::time::timeout(LAST_WORDS, self.clients.released()).await;
    }

    /// Sends the last announcements, and closes the connection. The name is released only with the connection: the bus
    /// would deliver a signal without it also to clients that its policy keeps from the daemon.
    pub async fn close(self) {
        // The daemon ends even if the time is over.
        let _ = tokio::time::timeout(LAST_WORDS, self.announcers.finish()).await;
        // Fails only if the bus is gone.
        let _ = self.connection.close().await;
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
    let socket = socket::connect(&address).await?;
    let manager = Manager {
        which,
        settings: rooms.settings.clone(),
        engine: rooms.engine.clone(),
        conversations: rooms.conversations.clone(),
        commands: rooms.commands.clone(),
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
    let conversations = conversations::Conversations {
        conversations: rooms.conversations.clone(),
        clients: clients.clone(),
    };
    let timers = timers::Timers {
        timers: rooms.timers.clone(),
        clients: clients.clone(),
    };
    let connection = Builder::socket(socket)
        .serve_at(MANAGER_PATH, manager)
        .serve_at(VOICE_PATH, voice)
        .serve_at(COMMANDS_PATH, commands)
        .serve_at(CONVERSATIONS_PATH, conversations)
        .serve_at(TIMERS_PATH, timers)
        .build()
        .await?;
    Ok(connection)
}
