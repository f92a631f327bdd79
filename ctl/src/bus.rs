//! The connection to the daemon, over the system bus or the session bus.

use std::cell::OnceCell;

use gemmad_api::{MANAGER_PATH, SERVICE};
use zbus::{Connection, fdo::DBusProxy};

use crate::{args::Bus, failure::Failure};

/// The bus to look for the daemon on, and the bus it was found on.
pub struct Way {
    /// The bus that the user named.
    pub wanted: Bus,
    found: OnceCell<Bus>,
}

impl Way {
    /// A way over the bus `wanted`, which is not yet taken.
    pub fn new(wanted: Bus) -> Self {
        Self {
            wanted,
            found: OnceCell::new(),
        }
    }

    /// The bus the daemon was found on, or else the one that the user named.
    pub fn bus(&self) -> Bus {
        *self.found.get().unwrap_or(&self.wanted)
    }

    /// Connects to the bus of the daemon. The daemon runs then; D-Bus starts it if it can.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        match self.wanted {
            Bus::System => {
                let system = Connection::system().await.map_err(Failure::NoBus)?;
                self.running(system, Bus::System).await
            }
            Bus::Session => {
                let session = Connection::session().await.map_err(Failure::NoBus)?;
                self.running(session, Bus::Session).await
            }
            Bus::Either => self.either().await,
        }
    }

    /// The system bus if the daemon runs there, else the session bus if it runs there, else the system
    /// bus if it can be started there.
    async fn either(&self) -> Result<Connection, Failure> {
        let system = Connection::system().await;
        if let Ok(system) = &system
            && is_running(system).await?
        {
            return Ok(self.found(system.clone(), Bus::System));
        }
        let session = Connection::session().await;
        if let Ok(session) = &session
            && is_running(session).await?
        {
            return Ok(self.found(session.clone(), Bus::Session));
        }
        match (system, session) {
            (Ok(system), _) => self.running(system, Bus::System).await,
            (Err(_), Ok(_)) => Err(Failure::NotRunning),
            (Err(error), Err(_)) => Err(Failure::NoBus(error)),
        }
    }

    /// `connection` to `bus`, once the daemon runs there.
    async fn running(&self, connection: Connection, bus: Bus) -> Result<Connection, Failure> {
        if !is_running(&connection).await? {
            if !is_activatable(&connection).await? {
                return Err(Failure::NotRunning);
            }
            start(&connection).await?;
        }
        Ok(self.found(connection, bus))
    }

    fn found(&self, connection: Connection, bus: Bus) -> Connection {
        // It is set once: a command connects once.
        let _ = self.found.set(bus);
        // Asking for the object server starts it. It answers pings: the daemon pings clients that get many replies, to
        // learn whether they read them.
        let _ = connection.object_server();
        connection
    }
}

async fn is_running(connection: &Connection) -> Result<bool, Failure> {
    let bus = DBusProxy::new(connection).await?;
    let name = SERVICE.try_into()?;
    Ok(bus.name_has_owner(name).await.map_err(zbus::Error::from)?)
}

async fn is_activatable(connection: &Connection) -> Result<bool, Failure> {
    let bus = DBusProxy::new(connection).await?;
    let names = bus.list_activatable_names().await;
    let names = names.map_err(zbus::Error::from)?;
    Ok(names.iter().any(|name| name.as_str() == SERVICE))
}

/// Lets D-Bus start the daemon, and waits until it runs. A call to the daemon does that subject to the
/// bus's policy, which `StartServiceByName` does not check.
async fn start(connection: &Connection) -> Result<(), Failure> {
    let peer = Some("org.freedesktop.DBus.Peer");
    connection
        .call_method(Some(SERVICE), MANAGER_PATH, peer, "Ping", &())
        .await?;
    Ok(())
}
