//! Permission to manage the daemon: root has it, and users to whom polkit grants `org.gemmad1.manage`.
//!
//! The bus decides by its policy which users may talk to the daemon at all.

use std::collections::HashMap;

use gemmad_api::Error;
use zbus::Connection;
use zbus::message::{Flags, Header};
use zbus::proxy::CacheProperties;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::Which;
use super::clients::Clients;

/// The action of polkit for managing the daemon.
const MANAGE: &str = "org.gemmad1.manage";

/// Checks that the caller of `header` may manage the daemon. On the session bus every caller may: it is the
/// user that the daemon belongs to.
///
/// # Errors
/// [`Error::NotAuthorized`] for other callers, and when polkit cannot be asked; [`Error::Cancelled`] when the
/// caller has left.
pub(super) async fn may_manage(
    which: Which,
    clients: &Clients,
    connection: &Connection,
    header: &Header<'_>,
) -> Result<(), Error> {
    if which == Which::Session || clients.user(connection, header).await?.number == 0 {
        return Ok(());
    }
    let refused = |why: String| {
        Error::NotAuthorized(format!(
            "managing gemmad is for root and whom polkit allows {MANAGE} ({why}); use sudo"
        ))
    };
    match is_allowed(connection, header).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused("polkit does not allow you".into())),
        Err(error) => Err(refused(format!("polkit cannot be asked: {error}"))),
    }
}

async fn is_allowed(
    connection: &Connection,
    header: &Header<'_>,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let subject = Subject::new_for_message_header(header)?;
    // polkit asks for a password only if the caller has set the flag that allows it.
    let interactive = header
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let flags = if interactive {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::default()
    };
    // No cache of properties, which would subscribe to their changes: only this one call is needed.
    let authority = AuthorityProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let result = authority
        .check_authorization(&subject, MANAGE, &HashMap::new(), flags, "")
        .await?;
    Ok(result.is_authorized)
}
