//! Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Runs `work` until it ends or a signal interrupts it. Interrupted work is dropped, which closes its
/// pipe and its connection to the bus; the daemon then cancels it.
pub async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        // Polled first, so that the signals are caught before the work begins.
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
