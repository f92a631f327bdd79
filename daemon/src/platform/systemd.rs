//! What the service manager is told: how loading gets on, that the daemon is ready, that it is alive, that it is
//! reading its configuration again, that it ends.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing here does anything.

use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::{Builder, Handle};
use tokio::time::{MissedTickBehavior, timeout};

use crate::engine::{Engine, Phase};

/// How long the service manager goes on waiting after each percent that is loaded, in microseconds. A
/// percent of the largest model takes half a second from the slowest card.
const PATIENCE_US: u32 = 30_000_000;

/// How long the end waits for the service manager to be told of it.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Follows the engine, for as long as it lives: tells what it is doing, and while it answers, that the daemon is
/// alive. That is so when the engine's own loop and the threads that serve the bus have both looked up from their
/// work.
///
/// It has a thread and a runtime of its own, since nothing that clients do may hold it up, and a service manager that
/// is busy keeps a thread waiting.
///
/// # Errors
/// When the system has no thread to give.
pub fn follow(engine: Engine) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let workers = Handle::current();
    thread::Builder::new()
        .name("liveness".into())
        .spawn(move || runtime.block_on(report(engine, workers)))?;
    Ok(())
}

async fn report(engine: Engine, workers: Handle) {
    let mut phase = engine.phase();
    // Twice in the time that is given, as sd_watchdog_enabled(3) recommends.
    let half = sd_notify::watchdog_enabled().map(|limit| (limit / 2).max(Duration::from_millis(1)));
    let mut beats = half.map(|half| {
        let mut beats = tokio::time::interval(half);
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
                tell_phase(&now);
            }
            // A watchdog begins to watch when the daemon is ready.
            () = next(beats.as_mut()), if is_up(&phase.borrow()) => {
                let computes = answer("the engine", half, engine.beat());
                let serves = answer("the bus", half, async { workers.spawn(async {}).await.is_ok() });
                if let (true, true) = tokio::join!(computes, serves) {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        }
    }
}

/// Waits until a part of the daemon answers; the log tells when it takes its time. Meanwhile the watchdog is not fed.
async fn answer(part: &str, patience: Option<Duration>, beat: impl Future<Output = bool>) -> bool {
    let Some(patience) = patience else {
        return beat.await;
    };
    let mut beat = pin!(beat);
    if let Ok(is_alive) = timeout(patience, &mut beat).await {
        return is_alive;
    }
    let seconds = patience.as_secs_f32();
    log::error!("{part} has not looked up from its work for {seconds} s");
    beat.await
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

/// Tells that the daemon ends, but does not wait for a service manager that is busy.
pub async fn stopping() {
    let telling = tokio::task::spawn_blocking(|| {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    });
    // Told or not, the daemon ends.
    let _ = timeout(LAST_WORDS, telling).await;
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

    #[tokio::test]
    async fn the_watchdog_waits_for_a_part_that_is_late_and_for_one_that_is_gone() {
        let patience = Some(Duration::from_millis(10));
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            true
        };
        assert!(answer("late", patience, late).await);
        assert!(!answer("gone", patience, async { false }).await);
        let hangs = answer("hangs", patience, std::future::pending());
        assert!(timeout(Duration::from_millis(100), hangs).await.is_err());
    }

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
