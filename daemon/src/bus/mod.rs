//! The D-Bus objects. This room translates between the contract (`gemmad-api`) and the other rooms,
//! and nothing more.
//!
//! | file | owns |
//! |---|---|
//! | `commands` | `org.gemmad1.Commands` |
//! | `manager` | `org.gemmad1.Manager` |
//! | `voice` | `org.gemmad1.Voice` |
//! | `announce` | signals for what changes in other rooms |
//! | `caller` | noticing that a caller left the bus |
//! | `authority` | who may manage the daemon |
//! | `pipe` | answers as JSON lines on a client's descriptor |
//! | `refusal` | errors of other rooms as errors of the contract |

mod announce;
mod authority;
mod caller;
mod commands;
mod manager;
mod pipe;
mod refusal;
mod voice;

use std::time::Duration;

use gemmad_api::{COMMANDS_PATH, MANAGER_PATH, SERVICE, VOICE_PATH};
use tokio::sync::watch;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;

use crate::commands::Commands;
use crate::config::Settings;
use crate::engine::Engine;
use crate::reload::Reloader;
use crate::voice::Voice;
use manager::Manager;

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
    #[error("cannot connect to the {which} bus: {source}; is dbus running?")]
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
        "cannot serve {SERVICE} on the {which} bus: {source}; does its policy allow this user to own the name?"
    )]
    Refused {
        /// Which one.
        which: &'static str,
        /// Why.
        source: zbus::Error,
    },
}

/// How long the end waits for readers of answers.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The daemon's place on the bus.
#[derive(Debug)]
pub struct Bus {
    connection: Connection,
    stopping: watch::Sender<bool>,
    carrying: watch::Sender<()>,
}

impl Bus {
    /// Serves the objects, then takes the name, so that whoever sees the name finds them.
    ///
    /// # Errors
    /// When there is no bus, or the name is not to be had.
    pub async fn serve(which: Which, rooms: Rooms) -> Result<Self, BusError> {
        let (name, builder) = match which {
            Which::System => ("system", Builder::system()),
            Which::Session => ("session", Builder::session()),
        };
        let (stopping, stopping_seen) = watch::channel(false);
        let carrying = watch::Sender::new(());
        let Rooms { engine, voice, .. } = &rooms;
        let manager = Manager {
            which,
            settings: rooms.settings.clone(),
            engine: engine.clone(),
            reloader: rooms.reloader.clone(),
            stopping: stopping_seen.clone(),
            carrying: carrying.clone(),
        };
        let connection = builder
            .serve_at(MANAGER_PATH, manager)
            .serve_at(VOICE_PATH, voice::Voice::new(voice.clone()))
            .serve_at(COMMANDS_PATH, commands::Commands(rooms.commands.clone()))
            .build()
            .await
            .map_err(|source| BusError::Unreachable {
                which: name,
                source,
            })?;
        // Not queued: a second daemon says so instead of waiting for the first to end.
        connection
            .request_name_with_flags(SERVICE, RequestNameFlags::DO_NOT_QUEUE)
            .await
            .map_err(|source| match source {
                zbus::Error::NameTaken => BusError::NameTaken(name),
                source => BusError::Refused {
                    which: name,
                    source,
                },
            })?;
        announce::start(&connection, &rooms, stopping_seen)
            .await
            .map_err(|source| BusError::Refused {
                which: name,
                source,
            })?;
        log::info!(event = "started", bus = name; "serving {SERVICE}");
        Ok(Self {
            connection,
            stopping,
            carrying,
        })
    }

    /// Waits until the last line of every answer is with its reader, but not for readers that do not read.
    pub async fn answered(&self) {
        // Late or not, the daemon ends now.
        let _ = tokio::time::timeout(LAST_WORDS, self.carrying.closed()).await;
    }

    /// Waits until the bus is gone.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    /// Tells everybody that the daemon is going away, and lets go of the name.
    pub async fn stopping(&self) {
        self.stopping.send_replace(true);
        // A bus that is gone needs no telling.
        let _ = announce::manager_state(&self.connection).await;
        let _ = self.connection.release_name(SERVICE).await;
    }
}
