//! The way to the daemon: over the bus that it is on.

use gemmad_api::{MANAGER_PATH, SERVICE};
use zbus::{Connection, fdo::DBusProxy};

use crate::{args::Bus, failure::Failure};

/// A connection to the bus that the daemon is on. It runs then: where D-Bus can start it, it does.
pub async fn connect(bus: Bus) -> Result<Connection, Failure> {
    match bus {
        Bus::System => running(Connection::system().await.map_err(Failure::NoBus)?).await,
        Bus::Session => running(Connection::session().await.map_err(Failure::NoBus)?).await,
        Bus::Either => either().await,
    }
}

/// The system bus if the daemon is there, else the session bus if it is there, else the system bus if
/// it can be started there.
async fn either() -> Result<Connection, Failure> {
    let system = Connection::system().await;
    if let Ok(system) = &system
        && is_running(system).await?
    {
        return Ok(system.clone());
    }
    let session = Connection::session().await;
    if let Ok(session) = &session
        && is_running(session).await?
    {
        return Ok(session.clone());
    }
    match (system, session) {
        (Ok(system), _) => running(system).await,
        (Err(_), Ok(_)) => Err(Failure::NotRunning),
        (Err(error), Err(_)) => Err(Failure::NoBus(error)),
    }
}

/// `connection`, once the daemon runs on its bus.
async fn running(connection: Connection) -> Result<Connection, Failure> {
    if !is_running(&connection).await? {
        if !is_activatable(&connection).await? {
            return Err(Failure::NotRunning);
        }
        start(&connection).await?;
    }
    Ok(connection)
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

/// Lets D-Bus start the daemon, and waits until it is there. A call to the daemon does that under the
/// bus's policy, which `StartServiceByName` would not ask.
async fn start(connection: &Connection) -> Result<(), Failure> {
    let peer = Some("org.freedesktop.DBus.Peer");
    connection
        .call_method(Some(SERVICE), MANAGER_PATH, peer, "Ping", &())
        .await?;
    Ok(())
}
