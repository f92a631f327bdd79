//! The handle of listening and speaking: orders go in, the status and the events of spoken turns come out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::event::Event;
use super::problem::{Unheard, Unspeakable};
use super::session::{Order, Session};
use super::status::{Status, VoiceError};
use super::talk::Talk;
use super::turns::Turns;
use crate::commands::Commands;
use crate::commands::timers::Timers;
use crate::config::{Config, Follow, Mode, Settings};
use crate::engine::Engine;
use crate::listen::ears::Ears;
use crate::platform::environment::Environment;
use crate::sound::device::{self, Kind, Present};
use crate::sound::meter::Meter;
use crate::speak::{self, Manner, SpeechError};

/// Events kept for a slow listener; a turn makes four or five.
const EVENTS_KEPT: usize = 256;

/// Longest wait for a microphone to open. A wireless headset takes two or three seconds.
const OPENING: Duration = Duration::from_secs(5);

/// The handle of the voice. Clones lead to the same voice.
#[derive(Debug, Clone)]
pub struct Voice {
    settings: Settings,
    speech: speak::Speech,
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
        timers: &Timers,
        talk: Talk,
        environment: Environment,
    ) -> std::io::Result<Self> {
        let config = settings.current();
        let (ears, heard) = Ears::spawn(Arc::clone(&config))?;
        let (speech, said) = speak::Speech::start(&config.speech, environment, talk.volume)?;
        let (orders, received) = mpsc::unbounded_channel();
        let (told, turn_events) = mpsc::unbounded_channel();
        let status = watch::Sender::new(Status::default());
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let meter = ears.meter();
        let session = Session::new(config.voice.mode);
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
            room: talk.room,
            forgotten: talk.forgotten,
            kept: [Vec::new(), Vec::new()],
            ringing: JoinSet::new(),
            under_way: JoinSet::new(),
            told,
            session,
            is_given_up: false,
        };
        tokio::spawn(turns.follow(heard, received, turn_events, said, timers.events()));
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
        let is_settled = |it: &Status| it.device.is_some() || it.may_hear().is_err();
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

    /// Returns when hearing or speaking has failed again and again, and is given up. Until then the thread that fails
    /// restarts, and the status says so.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    /// The status, now and whenever it changes.
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
        let open = wanted.iter().filter(|(_, _, open)| open.is_some());
        open.filter_map(|(kind, wanted, _)| device::chosen(present, *kind, wanted))
            .collect()
    }

    /// The level of the open microphone, in dBFS; see [`Meter::level`].
    #[must_use]
    pub fn level(&self) -> f32 {
        self.meter.level()
    }

    /// The events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn order(&self, order: Order) {
        // The task ends with the runtime, and its receiver with it.
        let _ = self.orders.send(order);
    }
}

impl Follow for Voice {
    /// An utterance being heard is dropped.
    fn follow(&self, before: &Config, after: &Config) {
        let of_sound = |config: &Config| {
            let Config {
                voice,
                keyword,
                speech,
                ..
            } = config.clone();
            (voice, keyword, speech)
        };
        if of_sound(before) != of_sound(after) {
            self.order(Order::Configure(after.voice.mode));
        }
    }
}
