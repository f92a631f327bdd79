//! The real `gemmactl` against the real `gemmad` with the nano model, on a real bus.

mod asking;
mod gemmactl;
mod speaking;
mod status;

use std::time::Duration;

use gemmad_api::{Health, from_dict};
use gemmad_testbed::Daemon;
use tokio::time::timeout;

/// A spoken or typed command and what the nano model makes of it.
const COMMAND: &str = "turn on the kitchen light";
const ANSWER: &str = "{\"tool\":\"light\",\"room\":\"kitchen\",\"state\":\"on\"}\n";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took too long")
}

/// Waits until the daemon works on nothing, and only the system prompt's cells are in use.
async fn idle(daemon: &Daemon) {
    within(async {
        loop {
            let health: Health = from_dict(&daemon.manager().health().await.unwrap()).unwrap();
            if health.active == 0 && health.cells_used == health.prefix_cells {
                return;
            }
        }
    })
    .await;
}
