//! Noticing that a caller left the bus, so that nobody is answered who is no longer there.

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

fn gone() -> Error {
    Error::Cancelled("the caller left the bus".into())
}
