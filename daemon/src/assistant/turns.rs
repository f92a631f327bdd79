//! The task behind [`Voice`](super::Voice): it follows ears and mouth, starts a spoken turn for each utterance, and keeps
//! the status. Stopping drops the turns under way, which cancels their requests. Each utterance has one outcome: a reply,
//! or a failure, which may be that it was cancelled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gemmad_api::VoiceState;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{self, JoinSet};

use super::event::Event;
use super::problem::{Unheard, Unspeakable, failure, show};
use super::spoken_turn::SpokenTurn;
use super::status::Status;
use crate::commands::{Commands, Origin};
use crate::config::{Config, Meaning, Mode, Settings};
use crate::engine::{Engine, EngineError};
use crate::listen::ears::Ears;
use crate::listen::keyword::Spotted;
use crate::listen::messages::Heard;
use crate::listen::utterance::Utterance;
use crate::platform::work::Panicked;
use crate::platform::worker::Crash;
use crate::speak::{self, Earcon, Said};

/// What the handle asks of the task.
pub enum Order {
    Mute(bool),
    Listen,
    Stop,
    Configure,
}

/// The task behind the handle.
pub struct Turns {
    pub settings: Settings,
    /// The settings that the ears were told last.
    pub config: Arc<Config>,
    pub engine: Engine,
    pub commands: Commands,
    pub ears: Ears,
    pub speech: speak::Speech,
    pub unheard: Unheard,
    pub unspeakable: Unspeakable,
    pub status: watch::Sender<Status>,
    pub events: broadcast::Sender<Event>,
    /// The spoken turns under way.
    pub under_way: JoinSet<()>,
    /// The utterances of their tasks.
    pub utterances: HashMap<task::Id, u64>,
    /// For their events.
    pub told: mpsc::UnboundedSender<Event>,
    /// The utterances that have no outcome yet.
    pub open: BTreeMap<u64, Phase>,
    /// Whether the assistant is speaking.
    pub is_aloud: bool,
    /// Whether an utterance was answered since the last time without a turn.
    pub is_answered: bool,
    pub asked: Asked,
    /// Whether a thread failed again and again, and was given up.
    pub is_given_up: bool,
}

/// Whether the next utterance is asked for, where not every one is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    No,
    /// Push to talk.
    Pushed,
    /// The wake word was said, or is not needed for now.
    Awake,
}

/// The state of an utterance without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The person speaks.
    Heard,
    /// The person has spoken.
    Answered,
}

impl Turns {
    /// Runs until ears, mouth and handle are gone, or a thread of sound is given up.
    pub async fn follow(
        mut self,
        mut heard: mpsc::UnboundedReceiver<Heard>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut said: mpsc::UnboundedReceiver<Said>,
    ) {
        loop {
            tokio::select! {
                // The events of a turn come before its end, or the state would be `off` before the reply.
                biased;
                Some(heard) = heard.recv() => self.hear(heard),
                Some(order) = orders.recv() => self.obey(&order),
                Some(event) = events.recv() => self.follow_turn(event),
                Some(said) = said.recv() => self.follow_speech(said),
                Some(ended) = self.under_way.join_next_with_id() => {
                    self.end(match &ended {
                        Ok((id, ())) => *id,
                        Err(error) => error.id(),
                    });
                }
                else => return,
            }
            self.update_state();
            if self.is_given_up {
                // Pending orders get no answer, and [`Voice::ended`] returns.
                return;
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Device(device) => {
                if device.is_some() && self.unheard.thread.take().is_some() {
                    self.miss();
                }
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
            // In mode `push`, only push to talk leads here.
            Heard::Awake(true) if self.config.voice.mode == Mode::Push => {}
            Heard::Awake(true) => self.asked = Asked::Awake,
            Heard::Awake(false) => self.asked = Asked::No,
            Heard::Utterance(utterance) => self.begin(utterance),
            Heard::Crashed(crash) => self.forget_ears(crash),
        }
    }

    /// Drops what the ears had told, and tells them again what they were told.
    fn forget_ears(&mut self, crash: Crash) {
        self.asked = Asked::No;
        self.status.send_modify(|status| status.device = None);
        self.unheard = Unheard {
            thread: Some(failure("hears", crash)),
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
                    self.unspeakable.thread = None;
                }
                self.is_aloud = is_aloud;
                self.ears.beside_speech(is_aloud);
            }
            Said::FarEnd(far_end) => self.ears.beside(far_end),
            Said::Device(device) => {
                self.status
                    .send_modify(|status| status.loudspeaker = device);
            }
            Said::NoLoudspeaker(problem) => self.unspeakable.loudspeaker = problem,
            Said::NoSound(problem) => self.unspeakable.synthesiser = problem,
            Said::Crashed(crash) => {
                self.unspeakable.thread = Some(failure("speaks", crash));
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

    /// Reports what cannot be heard.
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

    /// Ends what was under way when a word was said: the person wants something else, or nothing more.
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

    /// A turn has ended. One that was not cancelled and tells no outcome has panicked.
    fn end(&mut self, task: task::Id) {
        let utterance = self.utterances.remove(&task);
        if let Some(utterance) = utterance.filter(|it| self.open.remove(it).is_some()) {
            let error = Panicked.into();
            self.tell(Event::Failed { utterance, error });
        }
        self.follow_up();
    }

    /// Lets a person go on without the wake word, once all that they said is answered.
    fn follow_up(&mut self) {
        if self.under_way.is_empty() && std::mem::take(&mut self.is_answered) {
            self.ears.follow_up();
        }
    }

    /// Begins the turn of an utterance.
    fn begin(&mut self, heard: Utterance) {
        let (utterance, arrival) = (heard.number, self.commands.arrival());
        if self.is_aloud {
            log::info!(event = "barge-in", utterance = utterance; "somebody speaks over the assistant, which stops");
            self.interrupt();
        }
        if self.config.speech.enabled {
            self.speech.prepare();
        }
        self.tell(Event::Started { utterance });
        let turn = SpokenTurn {
            config: Arc::clone(&self.config),
            engine: self.engine.clone(),
            commands: self.commands.clone(),
            speech: self.speech.clone(),
            force: self.commands.force(),
            utterance,
            arrival,
            events: self.told.clone(),
        };
        let task = self.under_way.spawn(turn.follow(heard));
        self.utterances.insert(task.id(), utterance);
        self.open.insert(utterance, Phase::Heard);
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
                // Speech over the assistant may be the utterance that is wanted.
                if self.is_aloud && !self.is_hearing() {
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

    /// Falls silent and drops all turns, because the person wants something else.
    fn interrupt(&mut self) {
        self.speech.stop();
        self.cancel();
    }

    /// Drops all turns, and the utterance being heard with its own.
    fn cancel(&mut self) {
        self.under_way.abort_all();
        self.is_answered = false;
        for (utterance, phase) in std::mem::take(&mut self.open) {
            log::info!(utterance = utterance; "utterance dropped: {phase:?}");
            let error = EngineError::Cancelled;
            self.tell(Event::Failed { utterance, error });
        }
    }

    /// Follows a spoken turn; a cancelled one has had its outcome.
    fn follow_turn(&mut self, event: Event) {
        match &event {
            Event::Ended { utterance, .. } => {
                let Some(phase) = self.open.get_mut(utterance) else {
                    return;
                };
                *phase = Phase::Answered;
            }
            Event::Reply { utterance, .. } => {
                if self.open.remove(utterance).is_none() {
                    return;
                }
                self.is_answered = true;
            }
            Event::Failed { utterance, error } => {
                if self.open.remove(utterance).is_none() {
                    return;
                }
                if *error != EngineError::Cancelled {
                    self.speech.signal(&self.config.speech, Earcon::Error);
                }
            }
            Event::Started { .. } | Event::Transcript { .. } | Event::Spotted(_) => {}
        }
        self.tell(event);
    }

    /// Whether a person speaks to the assistant.
    fn is_hearing(&self) -> bool {
        self.open.values().any(|phase| *phase == Phase::Heard)
    }

    fn tell(&self, event: Event) {
        // No subscriber is no failure.
        let _ = self.events.send(event);
    }

    fn update_state(&self) {
        let waits = match self.config.voice.mode {
            Mode::Always | Mode::Wake => true,
            Mode::Push => self.asked == Asked::Pushed,
            Mode::Off => false,
        };
        self.status.send_if_modified(|status| {
            let state = if self.is_hearing() {
                VoiceState::Listening
            } else if self.is_aloud {
                VoiceState::Speaking
            } else if !self.under_way.is_empty() {
                VoiceState::Thinking
            } else if self.asked == Asked::Awake {
                VoiceState::Listening
            } else if waits && status.device.is_some() && !status.muted {
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
