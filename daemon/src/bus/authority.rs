//! Who may manage the daemon: root, and whom polkit allows `org.gemmad1.manage`.
//!
//! Who may talk to the daemon at all is the bus's to decide, by its policy.

use std::collections::HashMap;

use gemmad_api::Error;
use zbus::Connection;
use zbus::message::{Flags, Header};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::{Which, caller};

/// The action that polkit is asked about.
const MANAGE: &str = "org.gemmad1.manage";

/// Lets the caller of `header` pass who may manage the daemon. On the session bus everybody is the
/// user the daemon belongs to.
///
/// # Errors
/// [`Error::NotAuthorized`] for everybody else, and where nobody can tell.
pub(super) async fn may_manage(
    which: Which,
    connection: &Connection,
    header: &Header<'_>,
) -> Result<(), Error> {
    if which == Which::Session || caller::user_number(connection, header).await? == Some(0) {
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
    let authority = AuthorityProxy::new(connection).await?;
    let result = authority
        .check_authorization(&subject, MANAGE, &HashMap::new(), flags, "")
        .await?;
    Ok(result.is_authorized)
}
