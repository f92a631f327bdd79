//! Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Does `work` until it ends or a signal ends it. Dropped work closes its pipe and leaves the bus,
/// which is what cancels it in the daemon.
pub async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        // First, so that the signals are caught before the work begins.
        biased;
        interrupt = interrupt() => Err(interrupt.unwrap_or_else(|error| {
            Failure::Failed(format!("cannot wait for signals: {error}; try again"))
        })),
        outcome = work => outcome,
    }
}

async fn interrupt() -> io::Result<Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Failure::Interrupted,
        _ = terminate.recv() => Failure::Terminated,
    })
}
