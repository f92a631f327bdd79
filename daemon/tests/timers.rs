//! Timers over a real bus, by command, over a restart, and aloud.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use gemmad_api::{
    CommandsProxy, Error, InvocationStatus, InvokeOptions, TimerInfo, TimersProxy, VoiceState,
    from_dict,
};
use gemmad_testbed::{Bus, Daemon, Loudspeaker};
use tokio::time::timeout;

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_mins(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took too long")
}

async fn timers(daemon: &Daemon) -> TimersProxy<'static> {
    TimersProxy::new(daemon.connection()).await.unwrap()
}

async fn list(timers: &TimersProxy<'_>) -> Vec<TimerInfo> {
    let all = timers.list().await.unwrap();
    all.iter().map(|it| from_dict(it).unwrap()).collect()
}

#[tokio::test]
async fn a_timer_that_is_asked_for_in_words_is_set_told_and_cancelled() {
    let bus = Bus::start().await.unwrap();
    let catalogue = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands"));
    let daemon = Daemon::setup(&bus)
        .commands(catalogue)
        .start()
        .await
        .unwrap();
    let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
    let invoke = async |text: &str| {
        let invoked = commands.invoke(text, InvokeOptions::default()).await;
        let (_, _, mut invoked, _) = invoked.unwrap();
        let one = invoked.pop().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(one.status, InvocationStatus::Done, "{text}: {}", one.result);
        one.result
    };
    let said = invoke("set a timer for fifteen minutes").await;
    assert_eq!(said, "Timer set for 15 minutes.");
    assert!(
        invoke("wake me up at half past six")
            .await
            .starts_with("Alarm set for 6:30 ")
    );
    let timers = timers(&daemon).await;
    let set = list(&timers).await;
    let mut lengths: Vec<_> = set.iter().map(|it| (it.alarm, it.left_ms)).collect();
    lengths.sort_unstable();
    let [(false, timer), (true, alarm)] = lengths[..] else {
        panic!("{set:?}");
    };
    assert!((890_000..=900_000).contains(&timer), "{timer}");
    assert!(alarm <= 12 * 3_600_000, "{alarm}");
    assert_eq!(invoke("cancel the timer").await, "The timer is cancelled.");
    assert_eq!(invoke("cancel the timer").await, "There is no timer.");
    // Nobody oversleeps for that.
    assert!(list(&timers).await[0].alarm);
    assert!(invoke("what time is it").await.starts_with("It is "));
    assert!(invoke("what day is today").await.starts_with("It is "));
}

#[tokio::test]
async fn timers_outlast_a_restart_and_ring_once() {
    let bus = Bus::start().await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let setup = || Daemon::setup(&bus).env("XDG_STATE_HOME", state.path());
    let daemon = setup().start().await.unwrap();
    let set = timers(&daemon).await;
    set.set("tea", 0.1).await.unwrap();
    set.set("eggs", 600.0).await.unwrap();
    // It rings while nothing runs.
    let mut rang = set.receive_rang().await.unwrap();
    let first = within(rang.next()).await.unwrap();
    assert_eq!(first.args().unwrap().name, "tea");
    set.set("bread", 1.0).await.unwrap();
    assert!(daemon.stop().await.unwrap().success());

    let connection = bus.connect(PATIENCE).await.unwrap();
    let watched = TimersProxy::new(&connection).await.unwrap();
    let mut rang = watched.receive_rang().await.unwrap();
    let daemon = setup().start().await.unwrap();
    let signal = within(rang.next()).await.unwrap();
    let args = signal.args().unwrap();
    assert_eq!((args.name.as_str(), args.missed), ("bread", false));
    let left: Vec<_> = list(&timers(&daemon).await).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].name, "eggs");
}

#[tokio::test]
async fn wrong_timers_are_refused() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let timers = timers(&daemon).await;
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
        let refused = timers.set("", seconds).await;
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{seconds}: {refused:?}"
        );
    }
    for name in ["a\nb", &"x".repeat(65)] {
        assert!(timers.set(name, 60.0).await.is_err(), "{name:?}");
    }
    assert!(timers.cancel(7).await.is_err());
    for _ in 0..128 {
        timers.set("", 600.0).await.unwrap();
    }
    let refused = timers.set("", 600.0).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    assert_eq!(timers.cancel_all().await.unwrap(), 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_rings_aloud_again_and_again_until_it_is_stopped() {
    let bus = Bus::start().await.unwrap();
    let loudspeaker = Loudspeaker::alsa().unwrap();
    let setup = Daemon::setup(&bus).loudspeaker(&loudspeaker);
    // Nobody has to have answers spoken to hear a timer.
    let daemon = setup.set("speech", "enabled", false).start().await.unwrap();
    timers(&daemon).await.set("", 0.1).await.unwrap();
    let pause = Duration::from_secs(2);
    let first = within(loudspeaker.sounds(0)).await;
    let silent = within(loudspeaker.is_silent(first, pause)).await;
    let again = within(loudspeaker.sounds(silent)).await;
    daemon.voice().stop().await.unwrap();
    within(loudspeaker.is_silent(again, Duration::from_secs(5))).await;
    daemon.until_voice_is(VoiceState::Off).await.unwrap();
}
