//! The voice thread: microphone → 16 kHz → speech or not → utterances.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::capture::Capture;
use super::echo::{Canceller, Cleaned};
use super::enhancer::Enhancer;
use super::held::Streaming;
use super::interruption::{Guess, Interruption};
use super::keyword::{Spotted, Spotter};
use super::meter::Meter;
use super::resample::{RATE, Resampler, samples};
use super::speech::FarEnd;
use super::utterance::{Segment, Segmenter, Sense, Speaker};
use super::watched::{Change, Report, Watched};
use super::worker::Worker;
use crate::config::{Bounded, Config, Meaning, Mode};

/// How long the assistant's voice is still captured after it has left the loudspeaker: the way through the
/// room, its echo, and the buffers of the microphone.
const ECHO: Duration = Duration::from_millis(300);

/// Sound kept from before a wake word was spotted: if the person goes on in one breath they have begun by then, since
/// a word is spotted some time after it has ended.
const TAIL_MS: u32 = 160;

/// What the ears report, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// This microphone is open and delivers sound; or, with `None`, it does no longer.
    Device(Option<String>),
    /// Why there is no microphone although there should be one, and what to do; empty when solved.
    Problem(String),
    /// Why no words are waited for although some should be, and what to do; empty when solved.
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
}

enum Command {
    Configure(Arc<Config>),
    Mute(bool),
    Beside(FarEnd),
    BesideSpeech(bool),
    Understand(u64, Sense),
    Listen,
    FollowUp,
    Stop,
}

/// The handle of the voice thread, which ends when this is dropped.
pub struct Ears {
    worker: Worker<Command>,
    meter: Meter,
}

impl Ears {
    /// Starts the voice thread. In modes `always` and `wake` it opens the microphone at once.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn(config: Arc<Config>) -> io::Result<(Self, UnboundedReceiver<Heard>)> {
        let (heard, reports) = unbounded_channel();
        let meter = Meter::default();
        let shown = meter.clone();
        let worker = Worker::spawn("voice", move |inbox| {
            Listener::new(config, inbox, heard, shown).run();
        })?;
        Ok((Self { worker, meter }, reports))
    }

    /// How loud the open microphone is.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Hears as this configuration says from now on; the utterance being heard is dropped.
    pub fn configure(&self, config: &Arc<Config>) {
        self.worker.order(Command::Configure(Arc::clone(config)));
    }

    /// Closes the device and drops the utterance being heard, or allows it to be opened again.
    pub fn mute(&self, muted: bool) {
        self.worker.order(Command::Mute(muted));
    }

    /// Takes out of what is heard what this loudspeaker plays, until it is closed.
    pub fn beside(&self, far_end: FarEnd) {
        self.worker.order(Command::Beside(far_end));
    }

    /// Hears beside the assistant's own voice from now on, or no longer. What is heard over it is an utterance where every
    /// one is, and in mode `wake` if it is as loud as the one before. Where its echo is not taken out, or nobody may
    /// interrupt it, the utterance being heard is dropped, and nothing is heard meanwhile.
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
}

/// The voice thread's own state.
struct Listener {
    config: Arc<Config>,
    commands: Receiver<Command>,
    heard: UnboundedSender<Heard>,
    microphone: Watched<Capture>,
    meter: Meter,
    /// Sound on its way from the open microphone.
    stream: Option<Stream>,
    muted: bool,
    /// The assistant speaks, or spoke until just now.
    aloud: Aloud,
    /// What the loudspeaker plays, if one is open.
    canceller: Option<Canceller>,
    /// Whether somebody speaks over the assistant.
    interruption: Interruption,
    /// Push to talk was used. From then on the microphone stays open, because some devices are
    /// "busy" when they are opened again and again; what it hears unasked is thrown away.
    pushed: bool,
    /// Words that are known without the model.
    spotter: Option<Spotter>,
    listening: Listening,
    /// The utterance being heard.
    utterance: Option<u64>,
    /// Utterances so far.
    count: u64,
}

/// Whether what is said is an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listening {
    No,
    Yes,
    /// One that begins before then.
    Until(Instant),
}

/// Whether what comes may be the assistant's own voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aloud {
    Not,
    Speaking,
    /// What is captured before then may be.
    Until(Instant),
}

/// The way from one opened microphone to utterances.
struct Stream {
    resampler: Resampler,
    segmenter: Segmenter,
    rate: u32,
    channels: u16,
    /// Samples captured so far, of all channels.
    captured: u64,
    /// Losses of the microphone that were logged already.
    losses: (u64, u64),
    raw: Vec<f32>,
    samples: Vec<f32>,
    /// The same without the assistant's own voice.
    sound: Cleaned,
    enhancer: Option<Enhancer>,
    /// The last [`TAIL_MS`] of samples.
    tail: Vec<f32>,
}

fn microphone(device: String, heard: UnboundedSender<Heard>) -> Watched<Capture> {
    Watched::new(device, move |report| {
        // The voice thread ends by itself when nobody listens.
        let _ = heard.send(match report {
            Report::Device(device) => Heard::Device(device),
            Report::Problem(problem) => Heard::Problem(problem),
        });
    })
}

/// What is to be spotted, which is reported if it cannot be.
fn spotter(config: &Config, heard: &UnboundedSender<Heard>) -> Option<Spotter> {
    let spotter = Spotter::new(config.voice.mode, &config.keyword);
    let problem = spotter.as_ref().err().map(ToString::to_string);
    // The voice thread ends by itself when nobody listens.
    let _ = heard.send(Heard::Unspottable(problem.unwrap_or_default()));
    spotter.ok().flatten()
}

/// Whether what is said is an utterance although nobody asked for one.
fn unasked(config: &Config) -> Listening {
    if config.voice.mode == Mode::Always {
        Listening::Yes
    } else {
        Listening::No
    }
}

impl Listener {
    fn new(
        config: Arc<Config>,
        commands: Receiver<Command>,
        heard: UnboundedSender<Heard>,
        meter: Meter,
    ) -> Self {
        Self {
            meter,
            microphone: microphone(config.voice.device.clone(), heard.clone()),
            spotter: spotter(&config, &heard),
            listening: unasked(&config),
            config,
            commands,
            heard,
            stream: None,
            muted: false,
            aloud: Aloud::Not,
            canceller: None,
            interruption: Interruption::new(),
            pushed: false,
            utterance: None,
            count: 0,
        }
    }

    /// Sleeps until a command, sound, or a deadline of the microphone wakes it: unparking a thread
    /// that is awake makes its next sleep return at once, so nothing is missed.
    fn run(mut self) {
        while self.obey() && !self.heard.is_closed() {
            self.attend();
            let deadlines = [self.microphone.deadline(), self.given_up()];
            match deadlines.into_iter().flatten().min() {
                Some(deadline) => {
                    thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
                }
                None => thread::park(),
            }
        }
    }

    /// Carries out the commands that came; `false` after the last one.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Mute(muted)) => {
                    self.muted = muted;
                    self.stop();
                    self.pushed = false;
                }
                Ok(Command::Beside(far_end)) => self.canceller = Some(Canceller::new(far_end)),
                Ok(Command::BesideSpeech(true)) => self.begin_beside_speech(),
                Ok(Command::BesideSpeech(false)) => self.end_beside_speech(),
                Ok(Command::Understand(utterance, sense)) => self.understand(utterance, sense),
                Ok(Command::Configure(config)) => self.configure(config),
                Ok(Command::Listen | Command::FollowUp) if self.muted => {}
                Ok(Command::Listen)
                    if matches!(self.config.voice.mode, Mode::Always | Mode::Off) => {}
                Ok(Command::Listen) => {
                    self.pushed = true;
                    self.awake(self.config.voice.awake_ms, Speaker::Anybody);
                }
                Ok(Command::FollowUp) if !self.may_follow_up() => {}
                Ok(Command::FollowUp) => self.awake(self.config.voice.follow_up_ms, Speaker::Same),
                Ok(Command::Stop) => self.stop(),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self, config: Arc<Config>) {
        self.drop_utterance();
        if config.voice.device != self.config.voice.device {
            self.microphone.choose(config.voice.device.clone());
            self.forget_stream();
        }
        if let Some(stream) = &mut self.stream {
            stream.segmenter = Segmenter::new(&config.voice);
            stream.enhancer = Enhancer::new(&config.voice);
            stream.captured = 0;
        }
        self.bar();
        if let Some(canceller) = &mut self.canceller {
            canceller.restart();
        }
        let spotted = |config: &Config| (config.voice.mode, config.keyword.clone());
        if spotted(&config) != spotted(&self.config) {
            self.spotter = spotter(&config, &self.heard);
        }
        self.config = config;
        self.listen_no_more();
    }

    /// Lets no utterance begin while the assistant's own voice may be heard.
    fn bar(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.segmenter.bar(self.aloud != Aloud::Not);
        }
    }

    /// The assistant begins to speak.
    fn begin_beside_speech(&mut self) {
        self.aloud = Aloud::Speaking;
        self.interruption = Interruption::new();
        self.drop_utterance();
        self.bar();
        if self.listening == Listening::No
            && let Some(stream) = &mut self.stream
        {
            stream.segmenter.await_speech_of(Speaker::Same);
        }
    }

    /// It has ended, or was interrupted.
    fn end_beside_speech(&mut self) {
        self.hold(false);
        // A wake word has interrupted it already, perhaps.
        if self.aloud == Aloud::Speaking {
            self.aloud = Aloud::Until(Instant::now() + ECHO);
        }
    }

    /// Whether its voice is taken out of what is heard, so that others are heard over it.
    fn is_cancelled(&self) -> bool {
        self.config.voice.barge_in && self.canceller.is_some()
    }

    /// Whether somebody who speaks over it is meant to be heard.
    fn may_be_interrupted(&self) -> bool {
        self.aloud != Aloud::Not
            && self.is_cancelled()
            && (self.listening != Listening::No || self.may_follow_up())
    }

    /// Lets it pause, or go on.
    fn hold(&self, is_held: bool) {
        if let Some(canceller) = &self.canceller {
            canceller.hold(is_held);
        }
    }

    /// Takes what `speaker` begins to say within so many milliseconds for an utterance.
    fn awake<const MIN: u32, const MAX: u32>(
        &mut self,
        milliseconds: Bounded<MIN, MAX>,
        speaker: Speaker,
    ) {
        if let Some(stream) = &mut self.stream {
            stream.segmenter.await_speech_of(speaker);
        }
        let within = Duration::from_millis(milliseconds.get().into());
        self.listening = Listening::Until(Instant::now() + within);
        self.report(Heard::Awake(true));
    }

    /// Whether what is said after an answer needs no wake word where other things do.
    fn may_follow_up(&self) -> bool {
        self.config.voice.mode == Mode::Wake && self.config.voice.follow_up_ms.get() > 0
    }

    /// Takes nothing for an utterance any more, or everything in mode `always`.
    fn listen_no_more(&mut self) {
        let before = std::mem::replace(&mut self.listening, unasked(&self.config));
        if matches!(before, Listening::Until(_)) {
            self.report(Heard::Awake(false));
        }
    }

    fn understand(&mut self, utterance: u64, sense: Sense) {
        if self.utterance == Some(utterance)
            && let Some(stream) = &mut self.stream
        {
            stream.segmenter.understand(sense);
        }
    }

    fn stop(&mut self) {
        self.drop_utterance();
        self.hold(false);
        if let Some(stream) = &mut self.stream {
            stream.segmenter.skip(0);
        }
        self.listen_no_more();
    }

    fn attend(&mut self) {
        if self.canceller.as_ref().is_some_and(Canceller::is_over) {
            self.canceller = None;
        }
        if self.is_wanted() {
            self.microphone.open();
        } else {
            self.microphone.close();
            self.forget_stream();
        }
        match self.microphone.look(Instant::now()) {
            Some(Change::Opened) => {
                let capture = self.microphone.stream();
                self.stream = capture.map(|capture| Stream::new(&self.config, capture));
                self.bar();
                if let Some(canceller) = &mut self.canceller {
                    canceller.restart();
                }
            }
            Some(Change::Lost) => {
                self.drop_utterance();
                self.forget_stream();
                if self.config.voice.mode == Mode::Wake {
                    self.listen_no_more();
                }
            }
            None => {}
        }
        if self.given_up().is_some_and(|end| end <= Instant::now()) {
            self.listen_no_more();
        }
        self.hear();
    }

    /// When an utterance is no longer waited for although no sound comes in which it could begin.
    fn given_up(&self) -> Option<Instant> {
        match self.listening {
            Listening::Until(end) if self.stream.is_none() => Some(end),
            _ => None,
        }
    }

    fn is_wanted(&self) -> bool {
        !self.muted
            && match self.config.voice.mode {
                Mode::Always | Mode::Wake => true,
                Mode::Push => self.pushed,
                Mode::Off => false,
            }
    }

    fn hear(&mut self) {
        let (Some(capture), Some(stream)) = (self.microphone.stream(), &mut self.stream) else {
            return;
        };
        let moved = capture.held().pulse.moved();
        stream.read(capture);
        let canceller = self.canceller.as_mut();
        stream.clean(canceller.filter(|_| self.config.voice.barge_in));
        self.meter.push(&stream.samples);
        let words = self.spotter.as_mut();
        let spotted = words.map(|it| it.push(&stream.sound.suppressed));
        if matches!(self.aloud, Aloud::Until(end) if end <= moved) {
            self.aloud = Aloud::Not;
        }
        self.guess();
        if self.is_listening(moved) {
            self.segment(moved);
        } else if let Some(stream) = &mut self.stream {
            if self.aloud == Aloud::Not {
                stream.segmenter.overhear(&stream.sound.suppressed);
            } else {
                stream.segmenter.skip(stream.sound.suppressed.len());
            }
        }
        for spotted in spotted.into_iter().flatten() {
            self.spot(spotted);
        }
    }

    /// Lets the assistant pause when somebody seems to speak over it, until it is known.
    fn guess(&mut self) {
        let knows_room = self.canceller.as_ref().is_some_and(Canceller::knows_room);
        let may_begin = self.may_be_interrupted() && self.utterance.is_none() && knows_room;
        let Some(stream) = &mut self.stream else {
            return;
        };
        if self.aloud == Aloud::Not {
            stream.segmenter.bar(false);
        }
        if self.aloud != Aloud::Speaking || !may_begin {
            return;
        }
        let is_person = |level| stream.segmenter.may_be_awaited(level);
        match self.interruption.hear(&stream.sound, is_person) {
            Some(Guess::Somebody) => {
                log::debug!("somebody seems to speak: the assistant pauses");
                stream.segmenter.guess_beginning();
                self.hold(true);
            }
            Some(Guess::Quiet) => stream.segmenter.bar(false),
            Some(Guess::Nobody) => {
                log::debug!("it was nobody: the assistant goes on");
                stream.segmenter.bar(true);
                self.hold(false);
            }
            None => {}
        }
    }

    /// Whether what was captured until `moved` is, or may become, part of an utterance.
    fn is_listening(&mut self, moved: Instant) -> bool {
        if let Listening::Until(end) = self.listening
            && end <= moved
            && self.utterance.is_none()
        {
            self.listen_no_more();
        }
        if self.aloud != Aloud::Not && !self.is_cancelled() {
            return false;
        }
        self.listening != Listening::No || self.utterance.is_some() || self.may_be_interrupted()
    }

    /// Makes utterances of what was just captured, until `moved`.
    fn segment(&mut self, moved: Instant) {
        let (Some(capture), Some(stream)) = (self.microphone.stream(), &mut self.stream) else {
            return;
        };
        let Cleaned {
            linear, suppressed, ..
        } = &stream.sound;
        for segment in stream.segmenter.push_judged(linear, suppressed) {
            if segment == Segment::Started {
                self.count += 1;
                self.utterance = Some(self.count);
            }
            let utterance = self.count;
            let is_over = matches!(segment, Segment::Ended { .. });
            let _ = self.heard.send(match segment {
                Segment::Started => Heard::Started { utterance },
                Segment::Sound(samples) => Heard::Sound { utterance, samples },
                Segment::Paused { speech_end } => {
                    let at = stream.time_of(speech_end, moved);
                    Heard::Paused { utterance, at }
                }
                Segment::Resumed => Heard::Resumed { utterance },
                Segment::Ended { speech_end } => {
                    let at = stream.time_of(speech_end, moved);
                    Heard::Ended { utterance, at }
                }
            });
            if is_over {
                stream.log_losses(capture);
                self.utterance = None;
                if self.config.voice.mode != Mode::Always {
                    stream.segmenter.skip(0);
                    return self.listen_no_more();
                }
            }
        }
    }

    /// A word was said.
    fn spot(&mut self, spotted: Spotted) {
        let wakes = spotted.meaning == Meaning::Wake;
        if wakes {
            // The utterance is what follows it.
            self.drop_utterance();
            if let Some(stream) = &mut self.stream {
                stream.segmenter.skip(0);
                stream.segmenter.recall(&stream.tail);
            }
            // What is being said is cut short now.
            if self.aloud == Aloud::Speaking {
                self.aloud = Aloud::Until(Instant::now() + ECHO);
            }
        }
        self.report(Heard::Spotted(spotted));
        if wakes {
            self.awake(self.config.voice.awake_ms, Speaker::Anybody);
        }
    }

    fn report(&self, heard: Heard) {
        // The thread ends by itself when nobody listens.
        let _ = self.heard.send(heard);
    }

    /// Nothing comes from the microphone any more.
    fn forget_stream(&mut self) {
        self.hold(false);
        self.stream = None;
        self.meter.clear();
        if let Some(spotter) = &mut self.spotter {
            spotter.reset();
        }
    }

    fn drop_utterance(&mut self) {
        if let Some(utterance) = self.utterance.take() {
            self.report(Heard::Dropped { utterance });
        }
    }
}

impl Stream {
    fn new(config: &Config, capture: &Capture) -> Self {
        Self {
            resampler: Resampler::new(capture.rate, capture.channels),
            segmenter: Segmenter::new(&config.voice),
            rate: capture.rate,
            channels: capture.channels,
            captured: 0,
            losses: (0, 0),
            raw: Vec::new(),
            samples: Vec::new(),
            sound: Cleaned::default(),
            enhancer: Enhancer::new(&config.voice),
            tail: Vec::new(),
        }
    }

    /// Takes what was captured, as 16 kHz mono in `samples`.
    fn read(&mut self, capture: &mut Capture) {
        self.raw.clear();
        self.samples.clear();
        capture.read(&mut self.raw);
        self.captured += self.raw.len() as u64;
        self.resampler.push(&self.raw, &mut self.samples);
    }

    /// Takes the assistant's own voice out of that, if it is known.
    fn clean(&mut self, canceller: Option<&mut Canceller>) {
        self.sound.clear();
        match canceller {
            Some(canceller) => canceller.clean(&self.samples, &mut self.sound),
            None => self.sound.take(&self.samples),
        }
        if let Some(enhancer) = &mut self.enhancer {
            enhancer.enhance(&mut self.sound.linear);
        }
        self.tail.extend_from_slice(&self.sound.linear);
        self.tail
            .drain(..self.tail.len().saturating_sub(samples(TAIL_MS)));
    }

    /// When the 16 kHz sample at `position` was captured, if the last one that was read was
    /// captured at `last`.
    fn time_of(&self, position: u64, last: Instant) -> Instant {
        let frames = self.captured / u64::from(self.channels.max(1));
        let since = duration(frames, self.rate).saturating_sub(duration(position, RATE));
        last.checked_sub(since).unwrap_or(last)
    }

    fn log_losses(&mut self, capture: &Capture) {
        let losses = capture.losses();
        if losses != self.losses {
            log::warn!(
                lost_samples = losses.0 - self.losses.0,
                overruns = losses.1 - self.losses.1;
                "sound was lost: the machine is too busy to listen"
            );
            self.losses = losses;
        }
    }
}

/// How long so many frames take.
fn duration(frames: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(frames / rate) + Duration::from_nanos(frames % rate * 1_000_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

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

    #[test]
    fn durations_do_not_drift_or_overflow() {
        assert_eq!(duration(0, 44_100), Duration::ZERO);
        assert_eq!(
            duration(44_100 * 1_000_000_000 + 441, 44_100).as_millis(),
            1_000_000_000_010
        );
    }
}
