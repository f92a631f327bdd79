//! The mouth's thread: synthesised sound → the loudspeaker's rate → its ring, one speech after the other.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc as channel, oneshot, watch};

use super::error::SpeechError;
use super::player::Player;
use super::queue::{Kind, Piece, Sound, Speech};
use super::said::Said;
use super::spoken::Spoken;
use crate::config;
use crate::platform::worker::{self, Worker};
use crate::sound::playback::Playback;
use crate::sound::supervisor::{Change, Report, Supervisor};

/// Time for which an idle loudspeaker stays open: some devices click, or are slow, when they are opened for every
/// answer.
const IDLE: Duration = Duration::from_mins(1);

/// Most pieces of sound of one speech that wait to be played: half a minute, with pieces of 93 ms.
const WAITING: usize = 320;

/// Where the sound of one speech goes. Dropping it ends the speech.
pub struct Sounds {
    pieces: channel::Sender<Piece>,
    turn: watch::Receiver<bool>,
    mouth: Arc<Mouth>,
}

impl Sounds {
    /// Begins a sentence of these words, as soon as the speech has its turn to be synthesised.
    ///
    /// # Errors
    /// When the speech was stopped, or there is no loudspeaker for it.
    pub async fn begin_sentence(&mut self, words: &str) -> Result<(), SpeechError> {
        let turn = self.turn.wait_for(|has_turn| *has_turn).await.map(drop);
        turn.map_err(|_| SpeechError::Stopped)?;
        self.hand_over(Piece::Sentence(words.into())).await
    }

    /// Hands over more sound of the sentence. Waits while [`WAITING`] pieces are not played yet.
    ///
    /// # Errors
    /// When the speech was stopped, or there is no loudspeaker for it.
    pub async fn send(&self, sound: Sound) -> Result<(), SpeechError> {
        self.hand_over(Piece::Sound(sound)).await
    }

    async fn hand_over(&self, piece: Piece) -> Result<(), SpeechError> {
        let sent = self.pieces.send(piece).await;
        self.mouth.worker.wake();
        sent.map_err(|_| SpeechError::Stopped)
    }
}

impl Drop for Sounds {
    fn drop(&mut self) {
        // The sender goes first, so that the thread sees the end of the speech when it wakes.
        self.pieces = channel::channel(1).0;
        self.mouth.worker.wake();
    }
}

enum Order {
    Prepare,
    Say(Speech),
    Stop(Option<u64>),
    #[cfg(test)]
    Panic,
}

/// The handle of the mouth's thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Mouth {
    worker: Worker<Order>,
    config: watch::Sender<config::Speech>,
}

impl Mouth {
    /// Starts the thread. The loudspeaker is opened when there is something to say. After a panic the thread restarts:
    /// the speeches are lost, and the loudspeaker is opened again.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(config: &config::Speech, said: UnboundedSender<Said>) -> io::Result<Self> {
        let config = watch::Sender::new(config.clone());
        let current = config.subscribe();
        let crashes = said.clone();
        let worker = Worker::spawn(
            "mouth",
            move |inbox| Speaker::new(current.clone(), inbox, said.clone()).run(),
            move |crash| {
                // The reports of a thread that is gone no longer hold.
                report(&crashes, Said::Speaking(false));
                report(&crashes, Said::Device(None));
                report(&crashes, Said::NoLoudspeaker(None));
                report(&crashes, Said::Crashed(crash));
            },
        )?;
        Ok(Self { worker, config })
    }

    /// Applies this configuration from now on.
    pub fn configure(&self, config: &config::Speech) {
        self.config.send_replace(config.clone());
        self.worker.wake();
    }

    /// Opens the loudspeaker, because something will be said soon.
    pub fn prepare(&self) {
        self.worker.order(Order::Prepare);
    }

    /// Begins speech number `id`, behind those that go before it. `spoken` gets its sentences as they are played. The receiver gets `Ok` when its last sample was
    /// heard, or the reason why it was not.
    pub fn say(
        self: &Arc<Self>,
        id: u64,
        kind: Kind,
        volume: f32,
        spoken: Spoken,
    ) -> (Sounds, oneshot::Receiver<Result<(), SpeechError>>) {
        let (pieces, received) = channel::channel(WAITING);
        let (turn, has_turn) = watch::channel(false);
        let (done, outcome) = oneshot::channel();
        self.worker.order(Order::Say(Speech {
            id,
            kind,
            volume,
            pieces: received,
            spoken,
            turn,
            done,
            is_written: false,
        }));
        let sounds = Sounds {
            pieces,
            turn: has_turn,
            mouth: Arc::clone(self),
        };
        (sounds, outcome)
    }

    /// Stops speech `id` at once, or all.
    pub fn stop(&self, id: Option<u64>) {
        self.worker.order(Order::Stop(id));
    }

    /// Lets the thread panic.
    #[cfg(test)]
    pub fn panic(&self) {
        self.worker.order(Order::Panic);
    }
}

/// The thread's own state.
struct Speaker {
    current: watch::Receiver<config::Speech>,
    /// The configuration last read from `current`.
    config: config::Speech,
    orders: Rc<Receiver<Order>>,
    said: UnboundedSender<Said>,
    loudspeaker: Supervisor<Playback>,
    player: Player,
    /// Whether speech is heard, as reported last.
    is_speaking: bool,
    /// The loudspeaker stays open until then.
    until: Option<Instant>,
}

impl Speaker {
    fn new(
        mut current: watch::Receiver<config::Speech>,
        orders: Rc<Receiver<Order>>,
        said: UnboundedSender<Said>,
    ) -> Self {
        let config = current.borrow_and_update().clone();
        Self {
            current,
            loudspeaker: loudspeaker(config.device.clone(), said.clone()),
            config,
            orders,
            said,
            player: Player::default(),
            is_speaking: false,
            until: None,
        }
    }

    /// Sleeps until an order, sound, room in the ring, or a deadline wakes it; as the voice thread does.
    fn run(mut self) {
        while self.obey() && !self.said.is_closed() {
            self.attend();
            worker::sleep_until([
                self.loudspeaker.deadline(),
                self.until,
                self.player.deadline(self.loudspeaker.problem()),
            ]);
        }
    }

    /// Carries out the orders that came; `false` once the handle is gone.
    fn obey(&mut self) -> bool {
        if self.current.has_changed().unwrap_or(false) {
            self.configure();
        }
        loop {
            match self.orders.try_recv() {
                Ok(Order::Prepare) => self.until = Some(Instant::now() + IDLE),
                Ok(Order::Say(speech)) => self.player.say(speech),
                Ok(Order::Stop(id)) => self.stop(id),
                #[cfg(test)]
                Ok(Order::Panic) => panic!("as ordered"),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self) {
        let config = self.current.borrow_and_update().clone();
        if config.device != self.config.device {
            self.loudspeaker.choose(config.device.clone());
            self.player.begin_anew();
        }
        self.config = config;
    }

    fn stop(&mut self, id: Option<u64>) {
        self.player.stop(id, self.loudspeaker.stream());
        self.report_speaking();
    }

    fn attend(&mut self) {
        let now = Instant::now();
        if !self.player.is_empty() {
            self.until = Some(now + IDLE);
        }
        self.until = self.until.filter(|&until| now < until);
        // Where answers are spoken, a loudspeaker with a problem is tried again even while nothing is to be said.
        let is_missed = self.config.enabled && self.loudspeaker.problem().is_some();
        if self.until.is_some() || is_missed {
            self.loudspeaker.open();
        } else {
            self.loudspeaker.close();
        }
        if let Some(Change::Opened | Change::Lost) = self.loudspeaker.look(now) {
            self.player.begin_anew();
            if let Some(far_end) = self.loudspeaker.stream().and_then(Playback::far_end) {
                report(&self.said, Said::FarEnd(far_end));
            }
        }
        let problem = self.loudspeaker.problem().map(ToOwned::to_owned);
        let output = self.loudspeaker.stream();
        self.player.play(now, output, problem.as_deref());
        self.report_speaking();
    }

    fn report_speaking(&mut self) {
        let is_speaking = self.player.is_speaking();
        if std::mem::replace(&mut self.is_speaking, is_speaking) != is_speaking {
            report(&self.said, Said::Speaking(is_speaking));
        }
    }
}

fn loudspeaker(device: String, said: UnboundedSender<Said>) -> Supervisor<Playback> {
    Supervisor::new(device, move |it| {
        report(
            &said,
            match it {
                Report::Device(device) => Said::Device(device),
                Report::Problem(problem) => Said::NoLoudspeaker(problem),
            },
        );
    })
}

fn report(said: &UnboundedSender<Said>, it: Said) {
    // Once the receiver is gone, the thread ends by itself.
    let _ = said.send(it);
}
