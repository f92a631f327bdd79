//! The signals that ask the daemon to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM (systemd) or SIGINT (Ctrl-C).
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
