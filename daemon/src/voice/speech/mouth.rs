//! The mouth's thread: what was synthesised → the loudspeaker's rate → its ring, one speech after the other.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc as channel, oneshot};

use super::playback::Playback;
use super::{Said, SpeechError};
use crate::config;
use crate::voice::resample::Resampler;
use crate::voice::watched::{Change, Report, Watched};
use crate::voice::worker::{self, Worker};

/// How long the loudspeaker stays open when nothing is said: some devices click, or are slow, when they are
/// opened for every answer.
const IDLE: Duration = Duration::from_mins(1);

/// How long a speech waits for a loudspeaker that cannot be had.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pieces of sound of one speech that wait to be played; with pieces of 93 ms half a minute.
const WAITING: usize = 320;

/// A piece of sound.
#[derive(Debug)]
pub struct Sound {
    /// Frames a second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    /// The samples, interleaved.
    pub samples: Vec<f32>,
}

/// Where the sound of one speech goes. Dropping it ends the speech.
pub struct Sounds {
    sounds: channel::Sender<Sound>,
    mouth: Arc<Mouth>,
}

impl Sounds {
    /// Hands over a piece. Waits while enough of it waits.
    ///
    /// # Errors
    /// When the speech was stopped, or there is no loudspeaker for it.
    pub async fn send(&self, sound: Sound) -> Result<(), SpeechError> {
        let sent = self.sounds.send(sound).await;
        self.mouth.0.wake();
        sent.map_err(|_| SpeechError::Stopped)
    }
}

impl Drop for Sounds {
    fn drop(&mut self) {
        // The thread is to see that this was the last of it, so that goes first.
        self.sounds = channel::channel(1).0;
        self.mouth.0.wake();
    }
}

enum Command {
    Configure(config::Speech),
    Prepare,
    Say(Speech),
    Stop(Option<u64>),
}

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words. While they are played the assistant speaks.
    Voice,
    /// A sign.
    Earcon,
}

/// One speech, on its way to the loudspeaker.
struct Speech {
    id: u64,
    kind: Kind,
    /// What its samples are multiplied with.
    volume: f32,
    sounds: channel::Receiver<Sound>,
    done: oneshot::Sender<Result<(), SpeechError>>,
    /// All its sound was written.
    is_written: bool,
}

/// The handle of the mouth's thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Mouth(Worker<Command>);

impl Mouth {
    /// Starts the thread. The loudspeaker is opened when there is something to say.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(config: &config::Speech, said: UnboundedSender<Said>) -> io::Result<Self> {
        let config = config.clone();
        let worker = Worker::spawn("mouth", move |inbox| {
            Speaker::new(config, inbox, said).run();
        })?;
        Ok(Self(worker))
    }

    /// Speaks as this configuration says from now on.
    pub fn configure(&self, config: &config::Speech) {
        self.0.order(Command::Configure(config.clone()));
    }

    /// Opens the loudspeaker, because something will be said soon.
    pub fn prepare(&self) {
        self.0.order(Command::Prepare);
    }

    /// Begins speech number `id`, after those that were begun before. The second of what is returned gets to
    /// know when its last sample was heard, or why it was not.
    pub fn say(
        self: &Arc<Self>,
        id: u64,
        kind: Kind,
        volume: f32,
    ) -> (Sounds, oneshot::Receiver<Result<(), SpeechError>>) {
        let (sounds, received) = channel::channel(WAITING);
        let (done, outcome) = oneshot::channel();
        self.0.order(Command::Say(Speech {
            id,
            kind,
            volume,
            sounds: received,
            done,
            is_written: false,
        }));
        let mouth = Arc::clone(self);
        (Sounds { sounds, mouth }, outcome)
    }

    /// Falls silent in the middle of speech `id`, or of all.
    pub fn stop(&self, id: Option<u64>) {
        self.0.order(Command::Stop(id));
    }
}

/// The thread's own state.
struct Speaker {
    config: config::Speech,
    commands: Receiver<Command>,
    said: UnboundedSender<Said>,
    loudspeaker: Watched<Playback>,
    /// What is said, the first now.
    speeches: VecDeque<Speech>,
    /// For the sound that comes, whose rate and channels stand beside it.
    resampler: Option<(Resampler, u32, u16)>,
    /// Samples for which the ring had no room.
    pending: Vec<f32>,
    /// Where the speech of now began in what was written.
    begin: u64,
    /// Whether it is heard.
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
        config: config::Speech,
        commands: Receiver<Command>,
        said: UnboundedSender<Said>,
    ) -> Self {
        Self {
            loudspeaker: loudspeaker(config.device.clone(), said.clone()),
            config,
            commands,
            said,
            speeches: VecDeque::new(),
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

    /// Carries out the commands that came; `false` after the last one.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Configure(config)) => self.configure(config),
                Ok(Command::Prepare) => self.until = Some(Instant::now() + IDLE),
                Ok(Command::Say(speech)) => self.speeches.push_back(speech),
                Ok(Command::Stop(id)) => self.stop(id),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self, config: config::Speech) {
        if config.device != self.config.device {
            self.loudspeaker.choose(config.device.clone());
            self.begin_anew();
        }
        self.config = config;
    }

    fn stop(&mut self, id: Option<u64>) {
        let is_meant = |speech: &Speech| id.is_none_or(|id| id == speech.id);
        if self.speeches.front().is_some_and(is_meant) {
            if let Some(playback) = self.loudspeaker.stream() {
                playback.cut();
            }
            self.pending.clear();
            self.next(Err(SpeechError::Stopped));
        }
        let (stopped, left) = self.speeches.drain(..).partition(is_meant);
        self.speeches = left;
        give_up(stopped, &SpeechError::Stopped);
        self.report_speaking();
    }

    fn attend(&mut self) {
        let now = Instant::now();
        if !self.speeches.is_empty() {
            self.until = Some(now + IDLE);
        }
        self.until = self.until.filter(|&until| now < until);
        // A loudspeaker that answers are to come from is missed even when there is none.
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
            give_up(std::mem::take(&mut self.speeches), &problem);
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

    /// What was written is gone with its stream, and the next one begins at 0.
    fn begin_anew(&mut self) {
        self.begin = 0;
        self.resampler = None;
        self.pending.clear();
        self.heard = None;
    }

    /// Writes as much as there is, and room for it.
    fn play(&mut self, now: Instant) {
        self.heard = None;
        while let (Some(playback), Some(speech)) =
            (self.loudspeaker.stream(), self.speeches.front_mut())
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
            match speech.sounds.try_recv() {
                Ok(sound) => {
                    let (rate, channels) = (sound.rate, sound.channels);
                    let same = |(_, r, c): &(_, u32, u16)| (*r, *c) == (rate, channels);
                    if !self.resampler.as_ref().is_some_and(same) {
                        flush(self.resampler.take(), &mut self.pending);
                        let resampler = Resampler::to(playback.rate, rate, channels);
                        self.resampler = Some((resampler, rate, channels));
                    }
                    if let Some((resampler, ..)) = &mut self.resampler {
                        resampler.push(&sound.samples, &mut self.pending);
                    }
                }
                Err(channel::error::TryRecvError::Empty) => return,
                Err(channel::error::TryRecvError::Disconnected) => {
                    flush(self.resampler.take(), &mut self.pending);
                    speech.is_written = true;
                }
            }
            for sample in &mut self.pending {
                *sample *= speech.volume;
            }
        }
    }

    /// Ends the first speech, and goes on to the next.
    fn next(&mut self, outcome: Result<(), SpeechError>) {
        if let Some(speech) = self.speeches.pop_front() {
            // Whoever began it may be gone.
            let _ = speech.done.send(outcome);
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
        // Between two speeches, and between two sentences, it goes on.
        let is_words = self.speeches.iter().any(|it| it.kind == Kind::Voice);
        let is_speaking = is_words && (self.is_speaking || is_heard);
        if is_speaking != self.is_speaking {
            self.is_speaking = is_speaking;
            report(&self.said, Said::Speaking(is_speaking));
        }
    }
}

fn loudspeaker(device: String, said: UnboundedSender<Said>) -> Watched<Playback> {
    Watched::new(device, move |it| {
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
    // The thread ends by itself when nobody listens.
    let _ = said.send(it);
}

fn give_up(speeches: VecDeque<Speech>, error: &SpeechError) {
    for speech in speeches {
        // Whoever began it may be gone.
        let _ = speech.done.send(Err(error.clone()));
    }
}

/// Appends what is left in a resampler.
fn flush(resampler: Option<(Resampler, u32, u16)>, output: &mut Vec<f32>) {
    if let Some((resampler, ..)) = resampler {
        resampler.flush(output);
    }
}
