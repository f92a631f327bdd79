//! What the service manager is told: how loading gets on, that the daemon is ready, that its engine is
//! alive, that it is reading its configuration again, that it ends.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing here does anything.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::engine::{Engine, Phase};

/// How long the service manager goes on waiting after each percent that is loaded, in microseconds. A
/// percent of the largest model takes half a second from the slowest card.
const PATIENCE_US: u32 = 30_000_000;

/// Follows the engine, for as long as it lives: tells what it is doing, and while it answers, that it is
/// alive. The watchdog is fed by the engine's own loop: an engine that hangs is restarted.
pub async fn follow(engine: Engine) {
    let mut phase = engine.phase();
    let mut beats = sd_notify::watchdog_enabled().map(|limit| {
        // Twice in the time that is given, as sd_watchdog_enabled(3) recommends.
        let mut beats = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats
    });
    loop {
        tokio::select! {
            changed = phase.changed() => {
                if changed.is_err() {
                    return;
                }
                // Let go of before it is told: telling may take a while, and the engine is not to wait.
                let now = phase.borrow_and_update().clone();
                aside(move || tell_phase(&now)).await;
            }
            // A watchdog begins to watch when the daemon is ready.
            () = next(beats.as_mut()), if is_up(&phase.borrow()) => {
                if engine.beat().await {
                    aside(|| tell(&[NotifyState::Watchdog])).await;
                }
            }
        }
    }
}

/// Tells that the configuration is being read again; [`reloaded`] must follow with the same phase. While the
/// model loads neither tells anything, because the second says that the daemon is ready.
pub fn reloading(phase: &Phase) {
    if is_up(phase)
        && let Ok(now) = NotifyState::monotonic_usec_now()
    {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Tells what came of it.
pub fn reloaded(phase: &Phase, refused: bool) {
    if let Some(status) = after_reload(phase, refused) {
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

/// The status of a daemon that is ready after a reload; nothing if it is not ready.
fn after_reload(phase: &Phase, refused: bool) -> Option<String> {
    let note = if refused {
        "; the last reload was refused"
    } else {
        ""
    };
    is_up(phase).then(|| status(phase) + note)
}

/// Tells that the daemon ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells away from the threads that serve the bus, since a service manager that is busy keeps one waiting.
async fn aside(telling: impl FnOnce() + Send + 'static) {
    // It cannot panic, and at the end of the runtime nobody needs to be told any more.
    let _ = tokio::task::spawn_blocking(telling).await;
}

fn is_up(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready(_) | Phase::Failed(_))
}

async fn next(beats: Option<&mut tokio::time::Interval>) {
    match beats {
        Some(beats) => {
            beats.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn tell_phase(phase: &Phase) {
    let status = status(phase);
    let status = NotifyState::Status(&status);
    // A daemon without a model is up too: it says why to whoever asks.
    if is_up(phase) {
        tell(&[NotifyState::Ready, status]);
    } else {
        tell(&[NotifyState::ExtendTimeoutUsec(PATIENCE_US), status]);
    }
}

/// What the engine is doing, in words.
fn status(phase: &Phase) -> String {
    match phase {
        Phase::Starting => "starting".into(),
        Phase::Loading(percent) => format!("loading {percent} %"),
        Phase::Ready(ready) => format!("ready, {}", ready.name()),
        Phase::Failed(why) => format!("degraded: {why}"),
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_while_the_model_loads_does_not_make_the_daemon_ready() {
        assert_eq!(after_reload(&Phase::Starting, false), None);
        assert_eq!(after_reload(&Phase::Loading(40), true), None);
        let failed = Phase::Failed("no file".into());
        assert_eq!(
            after_reload(&failed, false).as_deref(),
            Some("degraded: no file")
        );
        assert_eq!(
            after_reload(&failed, true).as_deref(),
            Some("degraded: no file; the last reload was refused")
        );
    }
}
