//! The spoken turn: what is heard goes to a conversation with the engine, what comes back goes to
//! whoever listens.
//!
//! One task follows the ears, starts a conversation for every utterance, and keeps the status. Stopping
//! drops the conversations under way, which cancels what they asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gemmad_api::{Stats, VoiceState};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::conversation::{Conversation, Speech};
use super::device::{self, Kind, Present};
use super::keyword::Spotted;
use super::meter::Meter;
use super::problem::{Unheard, Unspeakable, failure, show};
use super::speech::{self, Earcon, Manner, Said, SpeechError};
use super::utterance::Sense;
use super::worker::Crash;
use super::{Ears, Heard};
use crate::commands::{Commands, Origin};
use crate::config::{Config, Meaning, Mode, Settings};
use crate::engine::{Engine, EngineError};
use crate::platform::environment::Environment;

/// Events kept for a slow listener; a turn makes four or five.
const EVENTS_KEPT: usize = 256;

/// How long a microphone is waited for. A headset by radio takes two or three seconds.
const OPENING: Duration = Duration::from_secs(5);

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
    /// A word was said that is known without the model.
    Spotted(Spotted),
    /// There is no answer.
    Failed {
        /// The utterance.
        utterance: u64,
        /// Why.
        error: EngineError,
    },
}

/// What a conversation tells of its utterance.
#[derive(Debug)]
pub(super) enum Told {
    /// What happened, for whoever listens.
    Event(Box<Event>),
    /// What was understood so far, for the ears.
    Sense(Sense),
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
    /// Why not everything is heard that should be; empty: all is well.
    pub problem: String,
    /// Of that, why there is no microphone although there should be; empty: there is one, or need be none.
    pub no_microphone: String,
    /// The loudspeaker in use; empty: none.
    pub loudspeaker: String,
    /// Why nothing can be said; empty: all is well.
    pub speech_problem: String,
}

/// Why the voice cannot listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoiceError {
    /// The configuration says so.
    #[error(
        "the microphone is switched off; set [voice] mode to \"push\", \"wake\" or \"always\" and `gemmactl reload`"
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
    Configure,
}

impl Status {
    /// Whether there is a microphone to listen with.
    fn may_hear(&self) -> Result<(), VoiceError> {
        if self.muted {
            return Err(VoiceError::Muted);
        }
        if !self.no_microphone.is_empty() {
            return Err(VoiceError::NoMicrophone(self.no_microphone.clone()));
        }
        Ok(())
    }
}

/// The door to the voice. Clones lead to the same voice.
#[derive(Debug, Clone)]
pub struct Voice {
    settings: Settings,
    speech: speech::Speech,
    orders: mpsc::UnboundedSender<Order>,
    status: watch::Sender<Status>,
    events: broadcast::Sender<Event>,
    meter: Meter,
}

impl Voice {
    /// Opens the ears and starts following them. The synthesiser gets the variables of `environment`. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        settings: Settings,
        engine: Engine,
        commands: Commands,
        environment: Environment,
    ) -> std::io::Result<Self> {
        let config = settings.current();
        let (ears, heard) = Ears::spawn(Arc::clone(&config))?;
        let (speech, said) = speech::Speech::start(&config.speech, environment)?;
        let (orders, received) = mpsc::unbounded_channel();
        let (told, tellings) = mpsc::unbounded_channel();
        let status = watch::Sender::new(Status::default());
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let meter = ears.meter();
        let turns = Turns {
            settings: settings.clone(),
            config,
            engine,
            commands,
            ears,
            speech: speech.clone(),
            unheard: Unheard::default(),
            unspeakable: Unspeakable::default(),
            status: status.clone(),
            events: events.clone(),
            conversations: JoinSet::new(),
            told,
            unanswered: BTreeSet::new(),
            speaking: None,
            is_aloud: false,
            is_answered: false,
            asked: Asked::No,
            is_given_up: false,
        };
        tokio::spawn(turns.follow(heard, received, tellings, said));
        Ok(Self {
            settings,
            speech,
            orders,
            status,
            events,
            meter,
        })
    }

    /// Push to talk: hears one utterance and answers it. Returns when the microphone is open.
    ///
    /// # Errors
    /// When there is no microphone to listen with.
    pub async fn listen(&self) -> Result<(), VoiceError> {
        if self.settings.current().voice.mode == Mode::Off {
            return Err(VoiceError::Off);
        }
        self.status.borrow().may_hear()?;
        self.order(Order::Listen);
        let mut status = self.status.subscribe();
        let is_settled = |it: &Status| !it.device.is_empty() || it.may_hear().is_err();
        // A device that takes longer may still open; the status tells.
        match timeout(OPENING, status.wait_for(is_settled)).await {
            Ok(Ok(status)) => status.may_hear(),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Says `text`, after what is being said already, and returns when it was heard. Dropped before, it falls
    /// silent.
    ///
    /// # Errors
    /// When it cannot be said to its end.
    pub async fn say(&self, text: &str, manner: &Manner) -> Result<(), SpeechError> {
        let config = self.settings.current();
        let speaking = self.speech.wish(&config.speech, manner)?;
        speaking.push(text);
        speaking.finish().await
    }

    /// Drops the utterance being heard, cancels the answers under way and falls silent.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// Closes the microphone, or opens it again. The status says so at once.
    pub fn mute(&self, muted: bool) {
        self.status.send_modify(|status| status.muted = muted);
        self.order(Order::Mute(muted));
    }

    /// Takes over what changed in the settings. An utterance being heard is dropped.
    pub fn configure(&self) {
        self.order(Order::Configure);
    }

    /// Returns when nothing is heard or said any more, because what does it failed again and again. Until then it
    /// begins anew, and the status says so.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    /// How the voice is, now and whenever it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Which of these devices are open: at most one microphone and one loudspeaker.
    #[must_use]
    pub fn used<'a>(&self, present: &'a [Present]) -> Vec<&'a Present> {
        let config = self.settings.current();
        let status = self.status.borrow();
        let wanted = [
            (Kind::Microphone, &config.voice.device, &status.device),
            (
                Kind::Loudspeaker,
                &config.speech.device,
                &status.loudspeaker,
            ),
        ];
        let open = wanted.iter().filter(|(_, _, open)| !open.is_empty());
        open.filter_map(|(kind, wanted, _)| device::chosen(present, *kind, wanted))
            .collect()
    }

    /// How loud the open microphone is, in dB of full scale; see [`Meter::level`].
    #[must_use]
    pub fn level(&self) -> f32 {
        self.meter.level()
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
    settings: Settings,
    /// What the settings were when the ears were told.
    config: Arc<Config>,
    engine: Engine,
    commands: Commands,
    ears: Ears,
    speech: speech::Speech,
    unheard: Unheard,
    unspeakable: Unspeakable,
    status: watch::Sender<Status>,
    events: broadcast::Sender<Event>,
    /// Utterances being heard and answered.
    conversations: JoinSet<()>,
    /// Where they tell what happens, with the number of the utterance.
    told: mpsc::UnboundedSender<(u64, Told)>,
    /// Utterances that have no reply yet.
    unanswered: BTreeSet<u64>,
    speaking: Option<Speaking>,
    /// Whether the assistant is speaking.
    is_aloud: bool,
    /// Whether an utterance was answered since everything was quiet.
    is_answered: bool,
    asked: Asked,
    /// Whether a thread failed again and again, and is gone.
    is_given_up: bool,
}

/// Whether the next utterance is asked for, where not every one is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    No,
    /// Push to talk.
    Pushed,
    /// Somebody said the wake word, or may go on without it.
    Awake,
}

/// The utterance being heard.
struct Speaking {
    utterance: u64,
    speech: mpsc::UnboundedSender<Speech>,
}

impl Turns {
    async fn follow(
        mut self,
        mut heard: mpsc::UnboundedReceiver<Heard>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut tellings: mpsc::UnboundedReceiver<(u64, Told)>,
        mut said: mpsc::UnboundedReceiver<Said>,
    ) {
        loop {
            tokio::select! {
                // What a conversation told comes before its end, or the state would be `off` before the
                // reply.
                biased;
                Some(heard) = heard.recv() => self.hear(heard),
                Some(order) = orders.recv() => self.obey(&order),
                Some((utterance, told)) = tellings.recv() => match told {
                    Told::Event(event) => self.conclude(utterance, *event),
                    Told::Sense(sense) => self.ears.understand(utterance, sense),
                },
                Some(said) = said.recv() => self.follow_speech(said),
                Some(_) = self.conversations.join_next() => self.follow_up(),
                else => return,
            }
            self.update_state();
            if self.is_given_up {
                // What waits for an answer gets none, and whoever started this gets to know.
                return;
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Device(device) => {
                if device.is_some() && !self.unheard.thread.is_empty() {
                    self.unheard.thread.clear();
                    self.miss();
                }
                let device = device.unwrap_or_default();
                self.status.send_modify(|status| status.device = device);
            }
            Heard::Problem(problem) => {
                self.unheard.microphone = problem;
                self.miss();
            }
            Heard::Unspottable(problem) => {
                self.unheard.words = problem;
                self.miss();
            }
            Heard::Spotted(spotted) => self.spot(spotted),
            // Where nothing is heard unasked, push to talk was used.
            Heard::Awake(true) if self.config.voice.mode == Mode::Push => {}
            Heard::Awake(true) => self.asked = Asked::Awake,
            Heard::Awake(false) => self.asked = Asked::No,
            Heard::Started { utterance } => self.converse(utterance),
            Heard::Sound { samples, .. } => self.pass_on(Speech::Sound(samples)),
            Heard::Paused { at, .. } => self.pass_on(Speech::Paused(at)),
            Heard::Resumed { .. } => self.pass_on(Speech::Resumed),
            Heard::Ended { at, .. } => {
                self.pass_on(Speech::Ended(at));
                self.speaking = None;
                self.asked = Asked::No;
            }
            Heard::Dropped { utterance } => self.drop_utterance(utterance),
            Heard::Crashed(crash) => self.forget_ears(crash),
        }
    }

    fn drop_utterance(&mut self, utterance: u64) {
        // Without its sound the conversation ends by itself.
        self.speaking = None;
        self.asked = Asked::No;
        log::info!(utterance = utterance; "utterance dropped");
        self.unanswered.remove(&utterance);
        self.cancelled(utterance);
    }

    /// What the ears had told holds no longer, and what they were told is told again.
    fn forget_ears(&mut self, crash: Crash) {
        self.asked = Asked::No;
        if let Some(Speaking { utterance, .. }) = self.speaking {
            self.drop_utterance(utterance);
        }
        self.status.send_modify(|status| status.device.clear());
        self.unheard = Unheard {
            thread: failure("hears", crash),
            ..Unheard::default()
        };
        self.miss();
        self.ears.beside_speech(self.is_aloud);
        self.is_given_up |= crash == Crash::GivenUp;
    }

    fn follow_speech(&mut self, said: Said) {
        match said {
            Said::Speaking(is_aloud) => {
                if is_aloud {
                    self.unspeakable.thread.clear();
                }
                self.is_aloud = is_aloud;
                self.ears.beside_speech(is_aloud);
            }
            Said::FarEnd(far_end) => self.ears.beside(far_end),
            Said::Device(device) => {
                let device = device.unwrap_or_default();
                self.status
                    .send_modify(|status| status.loudspeaker = device);
            }
            Said::NoLoudspeaker(problem) => self.unspeakable.loudspeaker = problem,
            Said::NoSound(problem) => self.unspeakable.synthesiser = problem,
            Said::Crashed(crash) => {
                self.unspeakable.thread = failure("speaks", crash);
                self.is_given_up |= crash == Crash::GivenUp;
            }
        }
        let Unspeakable {
            thread,
            loudspeaker,
            synthesiser,
        } = &self.unspeakable;
        let problems = [thread, loudspeaker, synthesiser];
        self.status
            .send_if_modified(|it| show(&mut it.speech_problem, problems));
    }

    /// Says what cannot be heard.
    fn miss(&self) {
        let Unheard {
            thread,
            microphone,
            words,
        } = &self.unheard;
        self.status.send_if_modified(|it| {
            it.no_microphone.clone_from(microphone);
            show(&mut it.problem, [thread, microphone, words])
        });
    }

    /// Ends what was under way when a word was said, because somebody wants something else, or nothing more.
    fn spot(&mut self, spotted: Spotted) {
        let Spotted {
            word,
            meaning,
            score,
        } = &spotted;
        log::info!(event = "keyword", word = word, score = score; "the word {word} was heard");
        match meaning {
            Meaning::Wake => {
                self.interrupt();
                self.speech.signal(&self.config.speech, Earcon::Wake);
            }
            Meaning::Halt => {
                self.obey(&Order::Stop);
                // Where no commands are expected there are none to halt.
                self.commands.halt(&Origin::Voice { utterance: None });
            }
        }
        self.tell(Event::Spotted(spotted));
    }

    /// Lets somebody go on without the wake word, when all that they said is answered.
    fn follow_up(&mut self) {
        if self.conversations.is_empty() && std::mem::take(&mut self.is_answered) {
            self.ears.follow_up();
        }
    }

    /// Starts the conversation about an utterance.
    fn converse(&mut self, utterance: u64) {
        let arrival = self.commands.arrival();
        if self.is_aloud {
            log::info!(event = "barge-in", utterance = utterance; "somebody speaks over the assistant, which stops");
            self.interrupt();
        }
        if self.config.speech.enabled {
            self.speech.prepare();
        }
        self.tell(Event::Started { utterance });
        let (speech, heard) = mpsc::unbounded_channel();
        let conversation = Conversation {
            config: Arc::clone(&self.config),
            engine: self.engine.clone(),
            commands: self.commands.clone(),
            speech: self.speech.clone(),
            force: self.commands.force(),
            utterance,
            arrival,
            told: self.told.clone(),
        };
        self.conversations.spawn(conversation.follow(heard));
        self.unanswered.insert(utterance);
        self.speaking = Some(Speaking { utterance, speech });
    }

    fn pass_on(&self, speech: Speech) {
        if let Some(speaking) = &self.speaking {
            // A conversation that was stopped has nobody to hear it.
            let _ = speaking.speech.send(speech);
        }
    }

    fn obey(&mut self, order: &Order) {
        match order {
            Order::Mute(muted) => {
                self.ears.mute(*muted);
                self.asked = Asked::No;
            }
            Order::Configure => {
                self.config = self.settings.current();
                self.ears.configure(&self.config);
                self.speech.configure(&self.config.speech);
                self.asked = Asked::No;
            }
            Order::Listen => {
                if self.is_aloud {
                    self.interrupt();
                }
                self.ears.listen();
                self.asked = Asked::Pushed;
            }
            Order::Stop => {
                self.ears.stop();
                self.speech.stop();
                self.asked = Asked::No;
                self.cancel();
            }
        }
    }

    /// Falls silent, because somebody wants something else.
    fn interrupt(&mut self) {
        self.speech.stop();
        self.cancel();
    }

    /// Drops all conversations.
    fn cancel(&mut self) {
        self.conversations.abort_all();
        self.is_answered = false;
        // The one being heard is told of when the ears have dropped it.
        let heard = self.speaking.as_ref().map(|speaking| speaking.utterance);
        for utterance in std::mem::take(&mut self.unanswered) {
            if heard != Some(utterance) {
                self.cancelled(utterance);
            }
        }
    }

    /// Tells what came of an utterance, unless that was cancelled meanwhile.
    fn conclude(&mut self, utterance: u64, event: Event) {
        match event {
            Event::Reply { .. } | Event::Failed { .. } => {
                if self.unanswered.remove(&utterance) {
                    if matches!(event, Event::Failed { .. }) {
                        self.speech.signal(&self.config.speech, Earcon::Error);
                    }
                    self.is_answered |= matches!(event, Event::Reply { .. });
                    self.tell(event);
                }
            }
            event => self.tell(event),
        }
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
            Mode::Always | Mode::Wake => true,
            Mode::Push => self.asked == Asked::Pushed,
            Mode::Off => false,
        };
        self.status.send_if_modified(|status| {
            let state = if self.speaking.is_some() {
                VoiceState::Listening
            } else if self.is_aloud {
                VoiceState::Speaking
            } else if !self.conversations.is_empty() {
                VoiceState::Thinking
            } else if self.asked == Asked::Awake {
                VoiceState::Listening
            } else if waits && !status.device.is_empty() && !status.muted {
                VoiceState::Waiting
            } else {
                VoiceState::Off
            };
            let changed = status.state != state;
            if changed {
                log::debug!("the voice is {state:?} now, after {:?}", status.state);
            }
            status.state = state;
            changed
        });
    }
}
