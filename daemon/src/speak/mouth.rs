//! The mouth's thread: synthesised sound → the loudspeaker's rate → its ring, one speech after the other.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc as channel, oneshot, watch};

use super::error::SpeechError;
use super::queue::{Kind, Piece, Queue, Sound, Speech};
use super::said::Said;
use crate::config;
use crate::platform::worker::{self, Worker};
use crate::sound::playback::Playback;
use crate::sound::resample::Resampler;
use crate::sound::supervisor::{Change, Report, Supervisor};

/// Time for which an idle loudspeaker stays open: some devices click, or are slow, when they are opened for every
/// answer.
const IDLE: Duration = Duration::from_mins(1);

/// Longest wait of a speech for a loudspeaker that cannot be opened.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most pieces of sound of one speech that wait to be played: half a minute, with pieces of 93 ms.
const WAITING: usize = 320;

/// Where the sound of one speech goes. Dropping it ends the speech.
pub struct Sounds {
    pieces: channel::Sender<Piece>,
    turn: watch::Receiver<bool>,
    mouth: Arc<Mouth>,
}

impl Sounds {
    /// Begins a sentence, as soon as the speech has its turn to be synthesised.
    ///
    /// # Errors
    /// When the speech was stopped, or there is no loudspeaker for it.
    pub async fn begin_sentence(&mut self) -> Result<(), SpeechError> {
        let turn = self.turn.wait_for(|has_turn| *has_turn).await.map(drop);
        turn.map_err(|_| SpeechError::Stopped)?;
        self.hand_over(Piece::Sentence).await
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

enum Command {
    Prepare,
    Say(Speech),
    Stop(Option<u64>),
    #[cfg(test)]
    Panic,
}

/// The handle of the mouth's thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Mouth {
    worker: Worker<Command>,
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
                report(&crashes, Said::NoLoudspeaker(String::new()));
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
        self.worker.order(Command::Prepare);
    }

    /// Begins speech number `id`, behind those that go before it. The receiver gets `Ok` when its last sample was
    /// heard, or the reason why it was not.
    pub fn say(
        self: &Arc<Self>,
        id: u64,
        kind: Kind,
        volume: f32,
    ) -> (Sounds, oneshot::Receiver<Result<(), SpeechError>>) {
        let (pieces, received) = channel::channel(WAITING);
        let (turn, has_turn) = watch::channel(false);
        let (done, outcome) = oneshot::channel();
        self.worker.order(Command::Say(Speech {
            id,
            kind,
            volume,
            pieces: received,
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
        self.worker.order(Command::Stop(id));
    }

    /// Lets the thread panic.
    #[cfg(test)]
    pub fn panic(&self) {
        self.worker.order(Command::Panic);
    }
}

/// The thread's own state.
struct Speaker {
    current: watch::Receiver<config::Speech>,
    /// The configuration last read from `current`.
    config: config::Speech,
    commands: Rc<Receiver<Command>>,
    said: UnboundedSender<Said>,
    loudspeaker: Supervisor<Playback>,
    speeches: Queue,
    /// The resampler of the current sound, with the rate and channels of that sound.
    resampler: Option<(Resampler, u32, u16)>,
    /// Samples for which the ring had no room.
    pending: Vec<f32>,
    /// Position, in samples written, at which the current speech began.
    begin: u64,
    /// Whether speech is heard, as reported last.
    is_speaking: bool,
    /// The loudspeaker stays open until then.
    until: Option<Instant>,
    /// Since when the first speech waits for a loudspeaker.
    waiting: Option<Instant>,
    /// When the last sample of the first speech is heard.
    heard: Option<Instant>,
}

impl Speaker {
    fn new(
        mut current: watch::Receiver<config::Speech>,
        commands: Rc<Receiver<Command>>,
        said: UnboundedSender<Said>,
    ) -> Self {
        let config = current.borrow_and_update().clone();
        Self {
            current,
            loudspeaker: loudspeaker(config.device.clone(), said.clone()),
            config,
            commands,
            said,
            speeches: Queue::default(),
            resampler: None,
            pending: Vec::new(),
            begin: 0,
            is_speaking: false,
            until: None,
            waiting: None,
            heard: None,
        }
    }

    /// Sleeps until a command, sound, room in the ring, or a deadline wakes it; as the voice thread does.
    fn run(mut self) {
        while self.obey() && !self.said.is_closed() {
            self.attend();
            worker::sleep_until([
                self.loudspeaker.deadline(),
                self.until,
                self.heard,
                self.given_up(),
            ]);
        }
    }

    /// Carries out the commands that came; `false` once the handle is gone.
    fn obey(&mut self) -> bool {
        if self.current.has_changed().unwrap_or(false) {
            self.configure();
        }
        loop {
            match self.commands.try_recv() {
                Ok(Command::Prepare) => self.until = Some(Instant::now() + IDLE),
                Ok(Command::Say(speech)) => self.speeches.push(speech),
                Ok(Command::Stop(id)) => self.stop(id),
                #[cfg(test)]
                Ok(Command::Panic) => panic!("as ordered"),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self) {
        let config = self.current.borrow_and_update().clone();
        if config.device != self.config.device {
            self.loudspeaker.choose(config.device.clone());
            self.begin_anew();
        }
        self.config = config;
    }

    fn stop(&mut self, id: Option<u64>) {
        let is_meant = |speech: &mut Speech| id.is_none_or(|id| id == speech.id);
        if self.speeches.first().is_some_and(is_meant) {
            if let Some(playback) = self.loudspeaker.stream() {
                playback.cut();
            }
            self.pending.clear();
            self.next(Err(SpeechError::Stopped));
        }
        self.give_up(id, &SpeechError::Stopped);
        self.report_speaking();
    }

    /// Ends speech `id` with this error, or all.
    fn give_up(&mut self, id: Option<u64>, error: &SpeechError) {
        for speech in self.speeches.take(id) {
            speech.end(Err(error.clone()));
        }
    }

    fn attend(&mut self) {
        let now = Instant::now();
        if !self.speeches.is_empty() {
            self.until = Some(now + IDLE);
        }
        self.until = self.until.filter(|&until| now < until);
        // Where answers are spoken, a loudspeaker with a problem is tried again even while nothing is to be said.
        let is_missed = self.config.enabled && !self.loudspeaker.problem().is_empty();
        if self.until.is_some() || is_missed {
            self.loudspeaker.open();
        } else {
            self.loudspeaker.close();
        }
        if let Some(Change::Opened | Change::Lost) = self.loudspeaker.look(now) {
            self.begin_anew();
            if let Some(far_end) = self.loudspeaker.stream().and_then(Playback::far_end) {
                report(&self.said, Said::FarEnd(far_end));
            }
        }
        if self.loudspeaker.stream().is_some() || self.speeches.is_empty() {
            self.waiting = None;
        } else {
            self.waiting.get_or_insert(now);
        }
        if self.given_up().is_some_and(|at| at <= now) {
            let problem = SpeechError::NoLoudspeaker(self.loudspeaker.problem().into());
            self.give_up(None, &problem);
            self.begin_anew();
        }
        self.play(now);
        self.report_speaking();
    }

    /// When the speeches that wait for a loudspeaker are given up.
    fn given_up(&self) -> Option<Instant> {
        let has_reason = !self.loudspeaker.problem().is_empty();
        self.waiting
            .filter(|_| has_reason)
            .map(|since| since + PATIENCE)
    }

    /// Starts over: the samples written are gone with their stream, and the next one begins at 0.
    fn begin_anew(&mut self) {
        self.begin = 0;
        self.resampler = None;
        self.pending.clear();
        self.heard = None;
    }

    /// Writes as much sound as there is, and room for.
    fn play(&mut self, now: Instant) {
        self.heard = None;
        while let (Some(playback), Some(speech)) =
            (self.loudspeaker.stream(), self.speeches.first())
        {
            let written = playback.write(&self.pending);
            self.pending.drain(..written);
            if !self.pending.is_empty() {
                // The device wakes us when it has taken some.
                return;
            }
            if speech.is_written {
                match playback.heard() {
                    Some(at) if at <= now => self.next(Ok(())),
                    heard => {
                        self.heard = heard;
                        return;
                    }
                }
                continue;
            }
            let volume = speech.volume;
            match speech.pieces.try_recv() {
                Ok(Piece::Sound(sound)) => {
                    let rate = playback.rate;
                    self.resample(&sound, rate);
                }
                Ok(Piece::Sentence) => self.give_way(),
                Err(channel::error::TryRecvError::Empty) => return,
                Err(channel::error::TryRecvError::Disconnected) => {
                    speech.is_written = true;
                    self.flush();
                }
            }
            for sample in &mut self.pending {
                *sample *= volume;
            }
        }
    }

    /// Appends a piece of sound at the loudspeaker's rate.
    fn resample(&mut self, sound: &Sound, to: u32) {
        let (rate, channels) = (sound.rate, sound.channels);
        let same = |(_, r, c): &(_, u32, u16)| (*r, *c) == (rate, channels);
        if !self.resampler.as_ref().is_some_and(same) {
            self.flush();
            self.resampler = Some((Resampler::to(to, rate, channels), rate, channels));
        }
        if let Some((resampler, ..)) = &mut self.resampler {
            resampler.push(&sound.samples, &mut self.pending);
        }
    }

    /// Appends what is left in the resampler.
    fn flush(&mut self) {
        if let Some((resampler, ..)) = self.resampler.take() {
            resampler.flush(&mut self.pending);
        }
    }

    /// Goes on with a more urgent speech between two sentences, if there is any.
    fn give_way(&mut self) {
        if self.speeches.give_way() {
            self.flush();
            let written = self.loudspeaker.stream().map_or(0, |it| it.written());
            self.begin = written + self.pending.len() as u64;
        }
    }

    /// Ends the first speech, and goes on to the next.
    fn next(&mut self, outcome: Result<(), SpeechError>) {
        if let Some(speech) = self.speeches.pop() {
            speech.end(outcome);
        }
        self.resampler = None;
        self.begin = self.loudspeaker.stream().map_or(0, |it| it.written());
    }

    fn report_speaking(&mut self) {
        let begin = self.begin;
        let is_heard = self
            .loudspeaker
            .stream()
            .is_some_and(|it| it.has_reached(begin));
        // Between two speeches, and between two sentences, speaking goes on.
        let is_speaking = self.speeches.has_words() && (self.is_speaking || is_heard);
        if is_speaking != self.is_speaking {
            self.is_speaking = is_speaking;
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
