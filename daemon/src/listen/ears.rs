//! The voice thread's handle, and what it reports: devices, words, and utterances as they are spoken.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::listener::Listener;
use super::messages::{Beginning, Heard, Order};
use crate::config::Config;
use crate::platform::worker::Worker;
use crate::sound::meter::Meter;
use crate::sound::playback::FarEnd;

/// The handle of the voice thread, which ends when this is dropped.
pub struct Ears {
    worker: Worker<Order>,
    beginning: watch::Sender<Beginning>,
    meter: Meter,
}

impl Ears {
    /// Starts the voice thread. In modes `always` and `wake` it opens the microphone at once. After a panic it restarts
    /// with its last configuration and mute state.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(config: Arc<Config>) -> io::Result<(Self, UnboundedReceiver<Heard>)> {
        let (heard, reports) = unbounded_channel();
        let meter = Meter::default();
        let shown = meter.clone();
        let beginning = watch::Sender::new(Beginning {
            config,
            muted: false,
            utterances: Arc::default(),
        });
        let now = beginning.subscribe();
        let crashes = heard.clone();
        let worker = Worker::spawn(
            "voice",
            move |inbox| {
                let beginning = now.borrow().clone();
                Listener::new(beginning, inbox, heard.clone(), shown.clone()).run();
            },
            move |crash| {
                // Once the receiver is gone, the thread ends by itself.
                let _ = crashes.send(Heard::Crashed(crash));
            },
        )?;
        let ears = Self {
            worker,
            beginning,
            meter,
        };
        Ok((ears, reports))
    }

    /// The level meter of the microphone.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Applies this configuration from now on; the utterance being heard is dropped.
    pub fn configure(&self, config: &Arc<Config>) {
        self.beginning
            .send_modify(|it| it.config = Arc::clone(config));
        self.worker.order(Order::Configure(Arc::clone(config)));
    }

    /// Closes the device and drops the utterance being heard, or allows it to be opened again.
    pub fn mute(&self, muted: bool) {
        self.beginning.send_modify(|it| it.muted = muted);
        self.worker.order(Order::Mute(muted));
    }

    /// Cancels the echo of this loudspeaker until it is closed.
    pub fn beside(&self, far_end: FarEnd) {
        self.worker.order(Order::Beside(far_end));
    }

    /// `true`: the assistant begins to speak, which drops the utterance being heard. `false`: it has ended. Speech over
    /// the assistant becomes an utterance where one is waited for anyway, and in mode `wake` with follow-ups if it is
    /// as loud as the utterance before. Where the echo is not cancelled, or the assistant may not be interrupted,
    /// nothing is heard meanwhile.
    pub fn beside_speech(&self, is_aloud: bool) {
        self.worker.order(Order::BesideSpeech(is_aloud));
    }

    /// Push to talk: hears one utterance; in mode `wake`, as if the wake word had been said. Does nothing in mode
    /// `always`, where everything is heard anyway, in mode `off`, and while muted.
    pub fn listen(&self) {
        self.worker.order(Order::Listen);
    }

    /// Hears one more utterance without a wake word, if it begins soon. Only in mode `wake`.
    pub fn follow_up(&self) {
        self.worker.order(Order::FollowUp);
    }

    /// Drops the utterance being heard, and no longer waits for the one [`Self::listen`] asked for.
    pub fn stop(&self) {
        self.worker.order(Order::Stop);
    }

    /// Lets the voice thread panic.
    #[cfg(test)]
    pub fn panic(&self) {
        self.worker.order(Order::Panic);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Mode};
    use crate::platform::worker::Crash;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn ears(mode: Mode, device: &str) -> (Ears, UnboundedReceiver<Heard>) {
        let voice = config::Voice {
            mode,
            device: device.into(),
            ..config::Voice::default()
        };
        let keyword = config::Keyword {
            words: Vec::new(),
            ..config::Keyword::default()
        };
        let config = Config {
            voice,
            keyword,
            ..Config::default()
        };
        let (ears, mut reports) = Ears::spawn(Arc::new(config)).unwrap();
        // Nothing is to be spotted, so nothing is missed.
        let first = next(&mut reports).await;
        assert!(matches!(first, Some(Heard::Unspottable(None))));
        (ears, reports)
    }

    async fn next(reports: &mut UnboundedReceiver<Heard>) -> Option<Heard> {
        tokio::time::timeout(PATIENCE, reports.recv())
            .await
            .expect("a report in time")
    }

    /// The problem that this report tells.
    fn problem(report: Option<Heard>) -> String {
        match report {
            Some(Heard::Problem(Some(problem))) => problem,
            other => panic!("{other:?}"),
        }
    }

    async fn is_solved(reports: &mut UnboundedReceiver<Heard>) {
        let report = next(reports).await;
        assert!(matches!(report, Some(Heard::Problem(None))), "{report:?}");
    }

    async fn restarts(reports: &mut UnboundedReceiver<Heard>) {
        let crash = next(reports).await;
        assert!(matches!(crash, Some(Heard::Crashed(Crash::Restarted))));
        let first = next(reports).await;
        assert!(matches!(first, Some(Heard::Unspottable(None))));
    }

    #[tokio::test]
    async fn ears_that_are_off_open_nothing_and_end_when_dropped() {
        let (ears, mut reports) = ears(Mode::Off, "").await;
        ears.listen();
        ears.mute(false);
        ears.stop();
        drop(ears);
        assert!(next(&mut reports).await.is_none());
    }

    #[tokio::test]
    async fn a_microphone_that_is_not_there_is_a_problem_by_name_until_muted() {
        let (ears, mut reports) = ears(Mode::Always, "no such microphone").await;
        let problem = problem(next(&mut reports).await);
        assert!(
            problem.starts_with("there is no microphone \"no such microphone\";"),
            "{problem}"
        );
        ears.mute(true);
        is_solved(&mut reports).await;
        ears.mute(false);
        assert_eq!(self::problem(next(&mut reports).await), problem);
    }

    #[tokio::test]
    async fn ears_that_panic_say_so_and_hear_again_as_they_were_muted() {
        let (ears, mut reports) = ears(Mode::Always, "no such microphone").await;
        let problem = problem(next(&mut reports).await);
        ears.panic();
        restarts(&mut reports).await;
        assert_eq!(self::problem(next(&mut reports).await), problem);
        ears.mute(true);
        is_solved(&mut reports).await;
        ears.panic();
        restarts(&mut reports).await;
        // It opens nothing before it is told to.
        ears.mute(false);
        assert_eq!(self::problem(next(&mut reports).await), problem);
    }

    #[tokio::test]
    async fn in_push_mode_nothing_is_opened_until_somebody_asks() {
        let (ears, mut reports) = ears(Mode::Push, "no such microphone").await;
        ears.mute(true);
        ears.listen();
        ears.mute(false);
        let early = tokio::time::timeout(Duration::from_millis(200), reports.recv()).await;
        assert!(early.is_err(), "{early:?}");
        ears.listen();
        let awake = next(&mut reports).await;
        assert!(matches!(awake, Some(Heard::Awake(true))), "{awake:?}");
        problem(next(&mut reports).await);
    }
}
