//! The spoken turn: what was heard goes to the engine, what comes back goes to whoever listens.
//!
//! One task follows the ears, starts a reply (and, if configured, a transcript) for every utterance,
//! and keeps the status. Stopping drops the answers under way, which cancels them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use gemmad_api::{Stats, VoiceState};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::{Ears, Heard};
use crate::config::{self, Config, Mode};
use crate::engine::{Clip, Engine, EngineError, Request, SAMPLE_RATE};

/// Events kept for a slow listener; a turn makes four or five.
const EVENTS_KEPT: usize = 256;

/// What happens in a spoken turn. The number of the utterance ties the events together.
#[derive(Debug, Clone)]
pub enum Event {
    /// Somebody began to speak.
    Started {
        /// The utterance.
        utterance: u64,
    },
    /// They stopped.
    Ended {
        /// The utterance.
        utterance: u64,
        /// Its length, pre-roll included.
        milliseconds: u32,
    },
    /// What was said.
    Transcript {
        /// The utterance.
        utterance: u64,
        /// The text.
        text: String,
    },
    /// The answer.
    Reply {
        /// The utterance.
        utterance: u64,
        /// The text.
        text: String,
        /// How it came about.
        stats: Stats,
    },
    /// There is no answer.
    Failed {
        /// The utterance.
        utterance: u64,
        /// Why.
        error: EngineError,
    },
}

/// How the voice is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: VoiceState,
    /// Whether the microphone is closed by wish.
    pub muted: bool,
    /// The microphone in use; empty: none.
    pub device: String,
    /// Why there is none although there should be; empty: all is well.
    pub problem: String,
}

/// Why the voice cannot listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoiceError {
    /// The configuration says so.
    #[error(
        "the microphone is switched off; set [voice] mode to \"push\" or \"always\" and restart gemmad"
    )]
    Off,
    /// Somebody muted it.
    #[error("the microphone is muted; `gemmactl unmute` opens it")]
    Muted,
    /// There is none, or it does not work.
    #[error("{0}")]
    NoMicrophone(String),
}

enum Order {
    Mute(bool),
    Listen,
    Stop,
}

/// The door to the voice. Clones lead to the same voice.
#[derive(Debug, Clone)]
pub struct Voice {
    mode: Mode,
    orders: mpsc::UnboundedSender<Order>,
    status: watch::Sender<Status>,
    events: broadcast::Sender<Event>,
}

impl Voice {
    /// Opens the ears and starts following them. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(config: &Config, engine: Engine) -> std::io::Result<Self> {
        let (ears, heard) = Ears::spawn(&config.voice)?;
        let (orders, received) = mpsc::unbounded_channel();
        let status = watch::Sender::new(Status::default());
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let turns = Turns {
            config: Arc::new(config.clone()),
            engine,
            ears,
            status: status.clone(),
            events: events.clone(),
            answers: JoinSet::new(),
            unanswered: BTreeSet::new(),
            speaking: None,
            pushed: false,
        };
        tokio::spawn(turns.follow(heard, received));
        Ok(Self {
            mode: config.voice.mode,
            orders,
            status,
            events,
        })
    }

    /// Push to talk: hears one utterance and answers it.
    ///
    /// # Errors
    /// When there is no microphone to listen with.
    pub fn listen(&self) -> Result<(), VoiceError> {
        let status = self.status.borrow();
        if self.mode == Mode::Off {
            return Err(VoiceError::Off);
        }
        if status.muted {
            return Err(VoiceError::Muted);
        }
        if !status.problem.is_empty() {
            return Err(VoiceError::NoMicrophone(status.problem.clone()));
        }
        self.order(Order::Listen);
        Ok(())
    }

    /// Drops the utterance being heard and cancels the answers under way.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// Closes the microphone, or opens it again. The status says so at once.
    pub fn mute(&self, muted: bool) {
        self.status.send_modify(|status| status.muted = muted);
        self.order(Order::Mute(muted));
    }

    /// How the voice is, now and whenever it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn order(&self, order: Order) {
        // The task ends with the runtime; nobody is left to obey then.
        let _ = self.orders.send(order);
    }
}

/// The task behind the door.
struct Turns {
    config: Arc<Config>,
    engine: Engine,
    ears: Ears,
    status: watch::Sender<Status>,
    events: broadcast::Sender<Event>,
    /// Replies and transcripts under way; each yields its event, or nothing.
    answers: JoinSet<Option<Event>>,
    /// Utterances whose reply is under way.
    unanswered: BTreeSet<u64>,
    speaking: Option<u64>,
    pushed: bool,
}

impl Turns {
    async fn follow(
        mut self,
        mut heard: mpsc::UnboundedReceiver<Heard>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        loop {
            tokio::select! {
                Some(heard) = heard.recv() => self.hear(heard),
                Some(order) = orders.recv() => self.obey(&order),
                Some(answer) = self.answers.join_next() => self.conclude(answer),
                else => return,
            }
            self.update_state();
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Device(device) => {
                let device = device.unwrap_or_default();
                self.status.send_modify(|status| status.device = device);
            }
            Heard::Problem(problem) => {
                if !problem.is_empty() {
                    log::warn!("{problem}");
                }
                self.status.send_modify(|status| status.problem = problem);
            }
            Heard::Started { utterance } => {
                self.speaking = Some(utterance);
                self.tell(Event::Started { utterance });
            }
            Heard::Dropped { utterance } => {
                self.speaking = None;
                self.pushed = false;
                log::info!(utterance = utterance; "utterance dropped");
                self.cancelled(utterance);
            }
            Heard::Ended {
                utterance,
                samples,
                at,
            } => {
                self.speaking = None;
                self.pushed = false;
                self.turn(utterance, samples, at);
            }
        }
    }

    fn obey(&mut self, order: &Order) {
        match order {
            Order::Mute(muted) => {
                self.ears.mute(*muted);
                self.pushed = false;
            }
            Order::Listen => {
                self.ears.listen();
                self.pushed = true;
            }
            Order::Stop => {
                self.ears.stop();
                self.pushed = false;
                self.answers.abort_all();
                for utterance in std::mem::take(&mut self.unanswered) {
                    self.cancelled(utterance);
                }
            }
        }
    }

    /// Answers an utterance. The transcript shares the reply's soft tokens and comes second, because
    /// somebody waits for the reply.
    fn turn(&mut self, utterance: u64, samples: Vec<f32>, at: Instant) {
        let milliseconds = samples.len() * 1000 / SAMPLE_RATE as usize;
        let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
        log::info!(utterance = utterance, ms = milliseconds; "utterance heard");
        self.tell(Event::Ended {
            utterance,
            milliseconds,
        });
        let clip = match Clip::new(samples) {
            Ok(clip) => clip,
            Err(error) => return self.tell(Event::Failed { utterance, error }),
        };
        let config::Transcribe { language, .. } = &self.config.transcribe;
        let transcript = self.config.voice.transcript.then(|| {
            let clip = Arc::clone(&clip);
            Request::transcript(&self.config.transcribe, language, clip).spoken(at)
        });
        let reply = Request::reply(&self.config.answer, clip).spoken(at);
        self.unanswered.insert(utterance);
        let engine = self.engine.clone();
        self.answers.spawn(async move {
            Some(match answer(&engine, reply).await {
                Ok((text, stats)) => Event::Reply {
                    utterance,
                    text,
                    stats,
                },
                Err(error) => Event::Failed { utterance, error },
            })
        });
        let Some(transcript) = transcript else { return };
        let engine = self.engine.clone();
        self.answers.spawn(async move {
            match answer(&engine, transcript).await {
                Ok((text, _)) => Some(Event::Transcript { utterance, text }),
                Err(error) => {
                    log::warn!(utterance = utterance; "no transcript: {error}");
                    None
                }
            }
        });
    }

    /// Tells what a finished reply or transcript yielded; an aborted one yields nothing.
    fn conclude(&mut self, answer: Result<Option<Event>, JoinError>) {
        let Ok(Some(event)) = answer else { return };
        if let Event::Reply { utterance, .. } | Event::Failed { utterance, .. } = &event {
            self.unanswered.remove(utterance);
        }
        self.tell(event);
    }

    fn cancelled(&self, utterance: u64) {
        let error = EngineError::Cancelled;
        self.tell(Event::Failed { utterance, error });
    }

    fn tell(&self, event: Event) {
        // Nobody listening is no failure.
        let _ = self.events.send(event);
    }

    fn update_state(&self) {
        let waits = match self.config.voice.mode {
            Mode::Always => true,
            Mode::Push => self.pushed,
            Mode::Off => false,
        };
        self.status.send_if_modified(|status| {
            let state = if self.speaking.is_some() {
                VoiceState::Listening
            } else if !self.answers.is_empty() {
                VoiceState::Thinking
            } else if waits && !status.device.is_empty() && !status.muted {
                VoiceState::Waiting
            } else {
                VoiceState::Off
            };
            let changed = status.state != state;
            status.state = state;
            changed
        });
    }
}

async fn answer(engine: &Engine, request: Request) -> Result<(String, Stats), EngineError> {
    engine.submit(request).await?.text().await
}
