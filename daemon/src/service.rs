//! Notifications to the service manager: the progress of loading, readiness, the watchdog, a reload, the end.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) these functions have no effect.

use std::pin::pin;
use std::time::{Duration, Instant};
use std::{io, thread};

use sd_notify::NotifyState;
use tokio::runtime::{Builder, Handle};
use tokio::time::{MissedTickBehavior, timeout};

use crate::engine::{Engine, Phase, Probe};

/// Time by which each loaded percent extends the service manager's timeout.
const PATIENCE: Duration = Duration::from_secs(90);

// A model that makes no progress is given up before the service manager gives up on the daemon.
const _: () = assert!(PATIENCE.as_secs() > Probe::PATIENCE.as_secs());

/// Longest wait for the notification of the end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Follows the engine to its end: reports its phase, and feeds the watchdog. The watchdog is fed only if both the
/// engine's loop and the runtime that serves the bus respond. While a model loads, progress stands for the engine's loop.
///
/// It has a thread and a runtime of its own, because clients must not hold it up, and a busy service manager blocks the
/// thread that notifies it.
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
    let mut progressed = Instant::now();
    // Twice within the watchdog's timeout, as sd_watchdog_enabled(3) recommends.
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
                // Cloned to release the borrow: notifying may take a while, and must not hold up the engine.
                let now = phase.borrow_and_update().clone();
                progressed = Instant::now();
                tell_phase(&now);
            }
            () = next(beats.as_mut()) => {
                let is_loading = matches!(*phase.borrow(), Phase::Starting | Phase::Loading(_));
                let computes = async {
                    if is_loading {
                        return progressed.elapsed() < PATIENCE;
                    }
                    answer("the engine", half, beat(&engine)).await
                };
                let serves = answer("the bus", half, async { workers.spawn(async {}).await.is_ok() });
                if let (true, true) = tokio::join!(computes, serves) {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        }
    }
}

/// Waits until the engine's loop responds, or begins to load another model.
async fn beat(engine: &Engine) -> bool {
    let mut phase = engine.phase();
    tokio::select! {
        is_alive = engine.beat() => is_alive,
        _ = phase.wait_for(|phase| matches!(phase, Phase::Loading(_))) => true,
    }
}

/// Waits until a part of the daemon responds, and logs if it takes longer than `patience`. Meanwhile the watchdog is
/// not fed.
async fn answer(part: &str, patience: Option<Duration>, beat: impl Future<Output = bool>) -> bool {
    let Some(patience) = patience else {
        return beat.await;
    };
    let mut beat = pin!(beat);
    if let Ok(is_alive) = timeout(patience, &mut beat).await {
        return is_alive;
    }
    let seconds = patience.as_secs_f32();
    log::error!("{part} has not responded for {seconds} s");
    beat.await
}

/// Notifies that the configuration is being read again; [`reloaded`] must follow with the same phase. While the model
/// loads neither has an effect, because the second also notifies readiness.
pub fn reloading(phase: &Phase) {
    if is_up(phase)
        && let Ok(now) = NotifyState::monotonic_usec_now()
    {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Notifies the outcome of a reload.
pub fn reloaded(phase: &Phase, refused: bool) {
    if let Some(status) = after_reload(phase, refused) {
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

/// The status after a reload; `None` if the daemon is not ready.
fn after_reload(phase: &Phase, refused: bool) -> Option<String> {
    let note = if refused {
        "; the last reload was refused"
    } else {
        ""
    };
    is_up(phase).then(|| status(phase) + note)
}

/// Notifies that the daemon ends, but waits no longer than 200 ms for a busy service manager.
pub async fn stopping() {
    let telling = tokio::task::spawn_blocking(|| {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    });
    // The daemon ends even if the notification fails.
    let _ = timeout(LAST_WORDS, telling).await;
}

fn is_up(phase: &Phase) -> bool {
    !matches!(phase, Phase::Starting | Phase::Loading(_))
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
    // A daemon without a model is up too: it tells its clients the reason.
    if is_up(phase) {
        tell(&[NotifyState::Ready, status]);
    } else {
        let patience = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::ExtendTimeoutUsec(patience), status]);
    }
}

/// The phase of the engine, in words.
fn status(phase: &Phase) -> String {
    match phase {
        Phase::Starting => "starting".into(),
        Phase::Loading(percent) => format!("loading {percent} %"),
        Phase::Ready(ready) => format!("ready, {}", ready.name()),
        Phase::Failed(why) => format!("degraded: {why}"),
        Phase::Unloading | Phase::Unloaded => "ready, no model in memory".into(),
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
