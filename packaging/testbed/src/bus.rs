//! A private message bus, configured like the system bus.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use zbus::{Connection, connection, fdo::DBusProxy};

use crate::{Error, process::Process};

/// A running private `dbus-daemon`. Dropping it ends the process and removes the socket.
#[derive(Debug)]
pub struct Bus {
    address: String,
    // Dropped in this order: the process before the folder of its socket.
    _process: Process,
    _folder: TempDir,
}

impl Bus {
    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// When `dbus-daemon` is not installed or does not start.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with("").await
    }

    /// Starts it with `rules` at the end of its configuration: elements of a `<busconfig>`, such as a
    /// `<policy>` or a `<servicedir>`.
    ///
    /// # Errors
    /// When `dbus-daemon` is not installed, or does not start with these rules.
    pub async fn start_with(rules: &str) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
        let config = folder.path().join("bus.conf");
        let socket = folder.path().join("bus");
        let text = configuration(&socket.display().to_string(), rules);
        std::fs::write(&config, text).map_err(Error::file(&config))?;

        let mut command = Command::new("dbus-daemon");
        command
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped());
        let (mut process, _) = Process::start(command)?;
        let address = match process.stdout() {
            Some(stdout) => BufReader::new(stdout).lines().next_line().await,
            None => Ok(None),
        };
        let Ok(Some(address)) = address else {
            return Err(process.not_started());
        };
        Ok(Self {
            address,
            _process: process,
            _folder: folder,
        })
    }

    /// The D-Bus address, such as `unix:path=…,guid=…`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The variables that make any D-Bus program use this bus as its session and its system bus.
    #[must_use]
    pub fn env(&self) -> [(&'static str, &str); 2] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", &self.address),
            ("DBUS_SYSTEM_BUS_ADDRESS", &self.address),
        ]
    }

    /// A new connection. Calls on it fail after `patience`, so that a lost reply fails a test instead
    /// of hanging it.
    ///
    /// # Errors
    /// When the bus has gone.
    pub async fn connect(&self, patience: Duration) -> Result<Connection, Error> {
        let connection = connection::Builder::address(self.address.as_str())
            .method_timeout(patience)
            .build()
            .await?;
        // Asking for the object server starts it. It answers the pings that the daemon sends to clients with many
        // replies.
        let _ = connection.object_server();
        Ok(connection)
    }

    /// Makes it read its configuration and the folders of services again; when this returns, the bus
    /// knows their services. It also watches the folders, but without a signal to wait for.
    ///
    /// # Errors
    /// When the bus has gone.
    pub async fn reload(&self) -> Result<(), Error> {
        let bus = self.connect(Duration::from_secs(10)).await?;
        let driver = DBusProxy::new(&bus).await?;
        driver.reload_config().await.map_err(zbus::Error::from)?;
        Ok(())
    }
}

/// A configuration of type `system`, so that names, limits and policy work as on a real system bus.
/// Everything is allowed except what `rules` deny.
fn configuration(socket: &str, rules: &str) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
{rules}
</busconfig>
"#
    )
}
