//! The voice thread's handle, and what it reports: devices, words, and utterances as they are spoken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::keyword::Spotted;
use super::listener::Listener;
use super::meter::Meter;
use super::speech::FarEnd;
use super::utterance::Sense;
use super::worker::{Crash, Worker};
use crate::config::Config;

/// What the ears report, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// This microphone is open and delivers sound; or, with `None`, it does no longer.
    Device(Option<String>),
    /// Why there is no microphone although there should be one, and what to do; empty when solved.
    Problem(String),
    /// Why some words are not waited for although they should be, and what to do; empty when solved.
    Unspottable(String),
    /// This word was said. In mode `wake`, one that wakes also drops the utterance being heard.
    Spotted(Spotted),
    /// What is said now will be an utterance, without the wake word; or is none any more. In mode `wake`.
    Awake(bool),
    /// Somebody began to speak.
    Started {
        /// The number of the utterance, from 1.
        utterance: u64,
    },
    /// More of the utterance, 16 kHz mono; the first holds the pre-roll.
    Sound {
        /// The number of the utterance.
        utterance: u64,
        /// The samples.
        samples: Vec<f32>,
    },
    /// They may have stopped. All the sound of the utterance has come, if so.
    Paused {
        /// The number of the utterance.
        utterance: u64,
        /// When the last sample of speech, before the silence, was captured.
        at: Instant,
    },
    /// They had not: more sound follows.
    Resumed {
        /// The number of the utterance.
        utterance: u64,
    },
    /// They stopped, or spoke for as long as an utterance may be.
    Ended {
        /// The number of the utterance.
        utterance: u64,
        /// When the last sample of speech, before the silence that ended it, was captured.
        at: Instant,
    },
    /// The utterance was given up: stopped, muted, or the microphone was lost.
    Dropped {
        /// The number of the utterance.
        utterance: u64,
    },
    /// The voice thread panicked. What it had reported holds no longer, and the utterance being heard is lost.
    Crashed(Crash),
}

/// What a voice thread begins with, also one that begins anew.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    pub config: Arc<Config>,
    /// Whether the microphone is closed by wish.
    pub muted: bool,
    /// Utterances that were heard before.
    pub utterances: Arc<AtomicU64>,
}

/// What the handle asks of the thread: each as the method of its name says.
pub(super) enum Command {
    Configure(Arc<Config>),
    Mute(bool),
    Beside(FarEnd),
    BesideSpeech(bool),
    Understand(u64, Sense),
    Listen,
    FollowUp,
    Stop,
    #[cfg(test)]
    Panic,
}

/// The handle of the voice thread, which ends when this is dropped.
pub struct Ears {
    worker: Worker<Command>,
    beginning: watch::Sender<Beginning>,
    meter: Meter,
}

impl Ears {
    /// Starts the voice thread. In modes `always` and `wake` it opens the microphone at once. After a panic it begins
    /// anew, as it was configured and muted last.
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
                // The thread ends by itself when nobody listens.
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

    /// How loud the open microphone is.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Hears as this configuration says from now on; the utterance being heard is dropped.
    pub fn configure(&self, config: &Arc<Config>) {
        self.beginning
            .send_modify(|it| it.config = Arc::clone(config));
        self.worker.order(Command::Configure(Arc::clone(config)));
    }

    /// Closes the device and drops the utterance being heard, or allows it to be opened again.
    pub fn mute(&self, muted: bool) {
        self.beginning.send_modify(|it| it.muted = muted);
        self.worker.order(Command::Mute(muted));
    }

    /// Takes out of what is heard what this loudspeaker plays, until it is closed.
    pub fn beside(&self, far_end: FarEnd) {
        self.worker.order(Command::Beside(far_end));
    }

    /// Hears beside the assistant's own voice from now on, or no longer. What is heard over it is an utterance where
    /// every one is, and in mode `wake` if it is as loud as the one before. Where its echo is not taken out, or nobody
    /// may interrupt it, the utterance being heard is dropped, and nothing is heard meanwhile.
    pub fn beside_speech(&self, is_aloud: bool) {
        self.worker.order(Command::BesideSpeech(is_aloud));
    }

    /// Says what an utterance that is paused means, so that it ends sooner or later.
    pub fn understand(&self, utterance: u64, sense: Sense) {
        self.worker.order(Command::Understand(utterance, sense));
    }

    /// Push to talk: hears one utterance; in mode `wake`, as if the wake word had been said. Does nothing in mode
    /// `always`, where everything is heard anyway, in mode `off`, and while muted.
    pub fn listen(&self) {
        self.worker.order(Command::Listen);
    }

    /// Hears one utterance more, if it begins soon, without a wake word. Only in mode `wake`.
    pub fn follow_up(&self) {
        self.worker.order(Command::FollowUp);
    }

    /// Drops the utterance being heard, and no longer waits for the one [`Self::listen`] asked for.
    pub fn stop(&self) {
        self.worker.order(Command::Stop);
    }

    /// Lets the voice thread panic.
    #[cfg(test)]
    pub fn panic(&self) {
        self.worker.order(Command::Panic);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Mode};

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
        assert_eq!(first, Some(Heard::Unspottable(String::new())));
        (ears, reports)
    }

    async fn next(reports: &mut UnboundedReceiver<Heard>) -> Option<Heard> {
        tokio::time::timeout(PATIENCE, reports.recv())
            .await
            .expect("a report in time")
    }

    #[tokio::test]
    async fn ears_that_are_off_open_nothing_and_end_when_dropped() {
        let (ears, mut reports) = ears(Mode::Off, "").await;
        ears.listen();
        ears.mute(false);
        ears.stop();
        drop(ears);
        assert_eq!(next(&mut reports).await, None);
    }

    #[tokio::test]
    async fn a_microphone_that_is_not_there_is_a_problem_by_name_until_muted() {
        let (ears, mut reports) = ears(Mode::Always, "no such microphone").await;
        let Some(Heard::Problem(problem)) = next(&mut reports).await else {
            panic!()
        };
        assert!(
            problem.starts_with("there is no microphone \"no such microphone\";"),
            "{problem}"
        );
        ears.mute(true);
        assert_eq!(
            next(&mut reports).await,
            Some(Heard::Problem(String::new()))
        );
        ears.mute(false);
        assert_eq!(next(&mut reports).await, Some(Heard::Problem(problem)));
    }

    #[tokio::test]
    async fn ears_that_panic_say_so_and_hear_again_as_they_were_muted() {
        let (ears, mut reports) = ears(Mode::Always, "no such microphone").await;
        let problem = next(&mut reports).await;
        assert!(matches!(problem, Some(Heard::Problem(_))), "{problem:?}");
        ears.panic();
        assert_eq!(
            next(&mut reports).await,
            Some(Heard::Crashed(Crash::Restarted))
        );
        assert_eq!(
            next(&mut reports).await,
            Some(Heard::Unspottable(String::new()))
        );
        assert_eq!(next(&mut reports).await, problem);
        ears.mute(true);
        assert_eq!(
            next(&mut reports).await,
            Some(Heard::Problem(String::new()))
        );
        ears.panic();
        assert_eq!(
            next(&mut reports).await,
            Some(Heard::Crashed(Crash::Restarted))
        );
        assert_eq!(
            next(&mut reports).await,
            Some(Heard::Unspottable(String::new()))
        );
        // It opens nothing before it is told to.
        ears.mute(false);
        assert_eq!(next(&mut reports).await, problem);
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
        assert_eq!(next(&mut reports).await, Some(Heard::Awake(true)));
        assert!(matches!(next(&mut reports).await, Some(Heard::Problem(_))));
    }
}
