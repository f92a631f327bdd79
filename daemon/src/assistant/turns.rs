//! The task behind [`Voice`](super::Voice): it follows ears and mouth, starts a spoken turn for each utterance, and keeps
//! the status. The session decides (`session`); this carries its effects out. Aborting turns cancels their requests.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;

use super::conversation::Conversation;
use super::event::Event;
use super::problem::{Unheard, Unspeakable, failure, show};
use super::ringing::ring;
use super::room::Shared;
use super::session::{Effect, Input, Order, Session};
use super::spoken_turn::{Recalled, SpokenTurn};
use super::status::Status;
use crate::commands::timers::Rung;
use crate::commands::{Commands, Origin};
use crate::config::{Certainty, Config, Settings};
use crate::engine::{self, Engine, Kept, Message, Preamble};
use crate::listen::Spotted;
use crate::listen::ears::Ears;
use crate::listen::messages::Heard;
use crate::listen::utterance::Utterance;
use crate::platform::worker::Crash;
use crate::speak::{self, Said};

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
    /// What was said.
    pub room: Shared,
    /// Somebody asked to forget it.
    pub forgotten: Arc<Notify>,
    /// The messages that are kept in the cache, by kind of request.
    pub kept: [Vec<Message>; 2],
    /// The timers that ring.
    pub ringing: JoinSet<()>,
    /// The spoken turns under way; each returns the number of its utterance.
    pub under_way: JoinSet<u64>,
    /// For their events.
    pub told: mpsc::UnboundedSender<Event>,
    pub session: Session,
    /// Whether a thread failed again and again, and was given up.
    pub is_given_up: bool,
}

impl Turns {
    /// Runs until ears, mouth and handle are gone, or a thread of sound is given up.
    pub async fn follow(
        mut self,
        mut heard: mpsc::UnboundedReceiver<Heard>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut said: mpsc::UnboundedReceiver<Said>,
        mut rung: broadcast::Receiver<Rung>,
    ) {
        loop {
            tokio::select! {
                // The events of a turn come before its end, or the state would be `off` before the reply.
                biased;
                Some(heard) = heard.recv() => self.hear(heard),
                Some(order) = orders.recv() => self.step(Input::Order(order)),
                Some(event) = events.recv() => {
                    let is_reply = matches!(event, Event::Reply { .. });
                    self.step(Input::Turn(event));
                    if is_reply {
                        self.keep_what_was_said();
                    }
                }
                Some(said) = said.recv() => self.follow_speech(said),
                Ok(rung) = rung.recv() => self.ring(rung),
                Some(_) = self.ringing.join_next() => {}
                Some(ended) = self.under_way.join_next() => {
                    self.step(Input::Over(ended.ok()));
                    self.keep_what_was_said();
                }
                () = self.forgotten.notified() => self.keep_what_was_said(),
                () = quiet(&self.settings, &self.room) => {
                    self.room.lock().forget();
                    self.keep_what_was_said();
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
            Heard::Awake(is_awake) => self.step(Input::Awake(is_awake)),
            Heard::Utterance(utterance) => {
                let number = utterance.number;
                self.carry_out(Input::Utterance(number), Some(utterance));
            }
            Heard::Crashed(crash) => self.forget_ears(crash),
        }
    }

    /// Drops what the ears had told, and tells them again what they were told.
    fn forget_ears(&mut self, crash: Crash) {
        self.status.send_modify(|status| status.device = None);
        self.unheard = Unheard {
            thread: Some(failure("hears", crash)),
            ..Unheard::default()
        };
        self.miss();
        self.step(Input::EarsCrashed);
        self.is_given_up |= crash == Crash::GivenUp;
    }

    fn follow_speech(&mut self, said: Said) {
        match said {
            Said::Speaking(is_aloud) => {
                if is_aloud {
                    self.unspeakable.thread = None;
                }
                self.step(Input::Aloud(is_aloud));
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

    /// The person wants something else, or nothing more.
    fn spot(&mut self, spotted: Spotted) {
        let Spotted {
            word,
            meaning,
            score,
        } = &spotted;
        log::info!(event = "keyword", word = word, score = score; "the word {word} was heard");
        self.step(Input::Spotted(*meaning));
        self.tell(Event::Spotted(spotted));
    }

    fn step(&mut self, input: Input) {
        self.carry_out(input, None);
    }

    /// Has the session take an input; `utterance` is the one that begins, if one does.
    fn carry_out(&mut self, input: Input, mut utterance: Option<Utterance>) {
        for effect in self.session.step(input) {
            match effect {
                Effect::Tell(event) => self.tell(event),
                Effect::Begin(number) => {
                    // The person hears it, and wants something.
                    self.ringing.abort_all();
                    if let Some(utterance) = utterance.take_if(|it| it.number == number) {
                        self.begin(utterance);
                    }
                }
                Effect::AbortTurns => self.under_way.abort_all(),
                Effect::Silence => {
                    self.ringing.abort_all();
                    self.speech.stop();
                }
                Effect::Signal(earcon) => self.speech.signal(&self.config.speech, earcon),
                Effect::BesideSpeech(is_aloud) => self.ears.beside_speech(is_aloud),
                Effect::Mute(muted) => self.ears.mute(muted),
                Effect::Listen => self.ears.listen(),
                Effect::FollowUp => self.ears.follow_up(),
                Effect::StopEars => self.ears.stop(),
                Effect::Configure => {
                    self.config = self.settings.current();
                    self.ears.configure(&self.config);
                    self.speech.configure(&self.config.speech);
                }
                // Where no commands are expected there are none to halt.
                Effect::Halt => {
                    self.commands.halt(&Origin::Voice { utterance: None });
                }
            }
        }
    }

    /// Tokens that what was said before may take; `None` if the model is not known.
    fn memory(&self, config: &Config) -> Option<usize> {
        if config.conversation.quiet_ms.get() == 0 {
            return Some(0);
        }
        self.engine.recalls()
    }

    /// What the model is told beside a question that begins now.
    fn recall(&self, config: &Config) -> Recalled {
        let now = engine::now(&config.answer);
        let memory = self.memory(config);
        if memory == Some(0) {
            return Recalled {
                now,
                ..Recalled::default()
            };
        }
        let mut room = self.room.lock();
        if let Some(memory) = memory {
            room.shorten(memory);
        }
        let said = room.conversation();
        let (history, trusted) = (history(&said, config), said.trusted_messages());
        Recalled {
            remembers: true,
            is_foreign: said.is_foreign() && history != trusted,
            history,
            trusted,
            now,
        }
    }

    /// Has what was said, or is being said, read ahead of the next utterance.
    fn keep_what_was_said(&mut self) {
        let config = self.settings.current();
        let memory = self.memory(&config);
        let mut room = self.room.lock();
        if let Some(memory) = memory {
            room.shorten(memory);
        }
        let history = match memory {
            Some(0) => Vec::new(),
            _ => history(&room.foreseen(), &config),
        };
        drop(room);
        let force = self.commands.force();
        let of_commands = force.is_some();
        let bases = [
            (Kept::Answers, Some(config.answer.system.as_str().into())),
            (Kept::Commands, force.map(|it| it.preamble.clone())),
        ];
        for (kept, base) in bases {
            // One kind of requests begins with what was said; the other forgets it.
            let is_spoken = (kept == Kept::Commands) == of_commands;
            let history = if is_spoken {
                history.clone()
            } else {
                Vec::new()
            };
            let before = &mut self.kept[kept as usize];
            if *before != history {
                before.clone_from(&history);
                let preamble = base.map(|base| Preamble { history, ..base });
                self.engine.keep(kept, preamble.as_ref());
            }
        }
    }

    /// Begins the turn of an utterance.
    fn begin(&mut self, heard: Utterance) {
        let (utterance, arrival) = (heard.number, self.commands.arrival(heard.began));
        if self.config.speech.enabled {
            self.speech.prepare();
        }
        let config = self.settings.current();
        let turn = SpokenTurn {
            recalled: self.recall(&config),
            part: self.room.begin(utterance),
            config,
            engine: self.engine.clone(),
            commands: self.commands.clone(),
            speech: self.speech.clone(),
            force: self.commands.force(),
            utterance,
            arrival,
            events: self.told.clone(),
        };
        // A panic ends the turn like its end; the session finds that it has no outcome.
        let turn = AssertUnwindSafe(turn.follow(heard)).catch_unwind();
        self.under_way.spawn(turn.map(move |_| utterance));
    }

    fn ring(&mut self, rung: Rung) {
        if !rung.is_missed {
            let (speech, config) = (self.speech.clone(), self.settings.current());
            self.ringing.spawn(ring(speech, config, rung));
        }
    }

    fn tell(&self, event: Event) {
        // No subscriber is no failure.
        let _ = self.events.send(event);
    }

    fn update_state(&self) {
        self.status.send_if_modified(|status| {
            let hears = status.device.is_some() && !status.muted;
            let state = self.session.state(hears);
            let changed = status.state != state;
            if changed {
                log::debug!("the voice is {state:?} now, after {:?}", status.state);
            }
            status.state = state;
            changed
        });
    }
}

/// What the model is told of a conversation. Where nothing is read twice, words of an unknown author must not give a command.
fn history(said: &Conversation, config: &Config) -> Vec<Message> {
    if config.commands.certainty == Certainty::One {
        said.trusted_messages()
    } else {
        said.messages()
    }
}

/// Returns when nobody has spoken for so long that what was said is forgotten.
async fn quiet(settings: &Settings, room: &Shared) {
    let quiet = settings.current().conversation.quiet_ms.get();
    if quiet == 0 {
        return std::future::pending().await;
    }
    let at = room.lock().forgets_at(Duration::from_millis(quiet.into()));
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
