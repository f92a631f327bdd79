//! Who calls, and noticing that they left the bus, so that nobody is answered who is no longer there.

use futures_util::StreamExt;
use gemmad_api::Error;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::BusName;

/// Runs `work` unless the caller of `header` leaves the bus first; then `work` is dropped.
///
/// # Errors
/// Those of `work`; [`Error::Cancelled`] when the caller left.
pub(super) async fn while_there<T>(
    connection: &Connection,
    header: &Header<'_>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    // Without a bus in between there is no sender, and the connection ends with the caller.
    let Some(caller) = header.sender() else {
        return work.await;
    };
    let bus = DBusProxy::new(connection).await?;
    let mut leaving = bus
        .receive_name_owner_changed_with_args(&[(0, caller.as_str()), (2, "")])
        .await?;
    // They may have left before anybody listened.
    let owned = bus.name_has_owner(BusName::from(caller.clone())).await;
    if !owned.map_err(zbus::Error::from)? {
        return Err(gone());
    }
    tokio::select! {
        done = work => done,
        _ = leaving.next() => Err(gone()),
    }
}

/// The name of the user who calls, or their number if they have no name.
///
/// # Errors
/// When the bus cannot tell.
pub(super) async fn user(connection: &Connection, header: &Header<'_>) -> Result<String, Error> {
    let number = user_number(connection, header).await?;
    let number =
        number.ok_or_else(|| Error::NotAuthorized("the bus does not say who calls".into()))?;
    let user = nix::unistd::User::from_uid(number.into());
    // Nobody with that number is known, or the machine's list of users cannot be read.
    let user = user.ok().flatten().map(|user| user.name);
    Ok(user.unwrap_or_else(|| number.to_string()))
}

/// The number of the user who calls. `None` without a bus in between.
///
/// # Errors
/// When the bus cannot tell.
pub(super) async fn user_number(
    connection: &Connection,
    header: &Header<'_>,
) -> Result<Option<u32>, Error> {
    let Some(caller) = header.sender() else {
        return Ok(None);
    };
    let bus = DBusProxy::new(connection).await?;
    let user = bus
        .get_connection_unix_user(BusName::from(caller.clone()))
        .await
        .map_err(zbus::Error::from)?;
    Ok(Some(user))
}

fn gone() -> Error {
    Error::Cancelled("the caller left the bus".into())
}
