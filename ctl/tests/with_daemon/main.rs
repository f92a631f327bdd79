//! The real `gemmactl` against the real `gemmad` with the nano model, on a real bus.

mod asking;
mod commands;
mod confirming;
mod conversations;
mod finding;
mod gemmactl;
mod models;
mod policy;
mod prompt;
mod reading;
mod reload;
mod speaking;
mod status;
mod timers;
mod writing;

use std::sync::LazyLock;
use std::time::Duration;

use gemmad_api::{Health, from_dict};
use gemmad_testbed::{Daemon, nano};
use tokio::time::timeout;

/// A spoken or typed command.
const COMMAND: &str = nano::COMMAND;

/// A spoken or typed question and what gemmactl prints of the nano model's answer.
const QUESTION: &str = nano::QUESTION;
static ANSWER: LazyLock<String> = LazyLock::new(|| format!("{}\n", nano::ANSWER));

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_mins(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took too long")
}

/// Waits until the daemon is idle, and only the cells of the system prompt are in use.
async fn idle(daemon: &Daemon) {
    within(async {
        loop {
            let health: Health = from_dict(&daemon.manager().health().await.unwrap()).unwrap();
            if health.is_idle() && health.cells_used == health.prefix_cells {
                return;
            }
        }
    })
    .await;
}
