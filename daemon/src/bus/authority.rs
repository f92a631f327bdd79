//! Who may manage the daemon: root, and whom polkit allows `org.gemmad1.manage`.
//!
//! Who may talk to the daemon at all is the bus's to decide, by its policy.

use std::collections::HashMap;

use gemmad_api::Error;
use zbus::Connection;
use zbus::message::{Flags, Header};
use zbus::proxy::CacheProperties;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::Which;
use super::clients::Clients;

/// The action that polkit is asked about.
const MANAGE: &str = "org.gemmad1.manage";

/// Lets the caller of `header` pass who may manage the daemon. On the session bus everybody is the
/// user the daemon belongs to.
///
/// # Errors
/// [`Error::NotAuthorized`] for everybody else, and where nobody can tell.
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
    // Only who said that they wait for it is asked for a password.
    let interactive = header
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let flags = if interactive {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::default()
    };
    // Nothing but this call is wanted of polkit, so nothing is subscribed to.
    let authority = AuthorityProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let result = authority
        .check_authorization(&subject, MANAGE, &HashMap::new(), flags, "")
        .await?;
    Ok(result.is_authorized)
}
