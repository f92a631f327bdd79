//! The voice thread: microphone → 16 kHz → speech or not → utterances.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::barge_in::{Guess, Interruption};
use super::echo::{Canceller, Cleaned};
use super::front_end::Stream;
use super::keyword::{Spotted, Spotter};
use super::listening::{Listening, unasked};
use super::messages::{Beginning, Command, Heard};
use super::segmenter::{Segment, Sense, Speaker};
use crate::config::{Bounded, Config, Meaning, Mode};
use crate::platform::worker;
use crate::sound::capture::Capture;
use crate::sound::device::Wanted;
use crate::sound::meter::Meter;
use crate::sound::stream::Streaming;
use crate::sound::supervisor::{Change, Report, Supervisor};

/// Time for which the assistant's voice is still captured after it has left the loudspeaker: the path through the room,
/// its echo, and the buffers of the microphone.
const ECHO: Duration = Duration::from_millis(300);

/// The voice thread's own state.
pub struct Listener {
    config: Arc<Config>,
    commands: Rc<Receiver<Command>>,
    heard: UnboundedSender<Heard>,
    microphone: Supervisor<Capture>,
    meter: Meter,
    /// Sound on its way from the open microphone.
    stream: Option<Stream>,
    muted: bool,
    /// Whether the assistant speaks, or spoke until just now.
    aloud: Aloud,
    /// The echo canceller, if a loudspeaker is open.
    canceller: Option<Canceller>,
    /// Guesses whether a person speaks over the assistant.
    interruption: Interruption,
    /// Whether push to talk was used. From then on the microphone stays open, because some devices are "busy" when they
    /// are opened again and again; sound that is not asked for is thrown away.
    pushed: bool,
    /// Spots words without the model.
    spotter: Option<Spotter>,
    listening: Listening,
    /// The utterance being heard.
    utterance: Option<u64>,
    /// Utterances so far.
    count: Arc<AtomicU64>,
}

/// Whether captured sound may hold the assistant's own voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aloud {
    Not,
    Speaking,
    /// Sound captured before then may.
    Until(Instant),
}

fn microphone(wanted: Wanted, heard: UnboundedSender<Heard>) -> Supervisor<Capture> {
    Supervisor::new(wanted, move |report| {
        // Once the receiver is gone, the voice thread ends by itself.
        let _ = heard.send(match report {
            Report::Device(device) => Heard::Device(device),
            Report::Problem(problem) => Heard::Problem(problem),
        });
    })
}

/// The spotter of the configured words. Words that cannot be used are reported.
fn spotter(config: &Config, heard: &UnboundedSender<Heard>) -> Option<Spotter> {
    let (spotter, errors) = Spotter::new(config.voice.mode, &config.keyword);
    let problems: Vec<String> = errors.iter().map(ToString::to_string).collect();
    // Once the receiver is gone, the voice thread ends by itself.
    let _ = heard.send(Heard::Unspottable(problems.join("; ")));
    spotter
}

impl Listener {
    /// A listener with this configuration, which hears once it runs.
    pub fn new(
        beginning: Beginning,
        commands: Rc<Receiver<Command>>,
        heard: UnboundedSender<Heard>,
        meter: Meter,
    ) -> Self {
        let Beginning {
            config,
            muted,
            utterances,
        } = beginning;
        meter.clear();
        Self {
            meter,
            microphone: microphone((&config.voice).into(), heard.clone()),
            spotter: spotter(&config, &heard),
            listening: unasked(&config),
            config,
            commands,
            heard,
            stream: None,
            muted,
            aloud: Aloud::Not,
            canceller: None,
            interruption: Interruption::new(),
            pushed: false,
            utterance: None,
            count: utterances,
        }
    }

    /// Sleeps until a command, sound, or a deadline of the microphone wakes it: unparking a thread
    /// that is awake makes its next sleep return at once, so nothing is missed.
    pub fn run(mut self) {
        while self.obey() && !self.heard.is_closed() {
            self.attend();
            worker::sleep_until([self.microphone.deadline(), self.given_up()]);
        }
    }

    /// Carries out the commands that came; `false` once the handle is gone.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Mute(muted)) => {
                    self.muted = muted;
                    self.stop();
                    self.pushed = false;
                }
                Ok(Command::Beside(far_end)) => {
                    self.canceller = Some(Canceller::new(far_end));
                    self.interruption = Interruption::new();
                }
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
                #[cfg(test)]
                Ok(Command::Panic) => panic!("as ordered"),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self, config: Arc<Config>) {
        self.drop_utterance();
        let (wanted, before) = (
            Wanted::from(&config.voice),
            Wanted::from(&self.config.voice),
        );
        if wanted != before {
            self.microphone.choose(wanted);
            self.forget_stream();
        }
        if let Some(stream) = &mut self.stream {
            stream.configure(&config);
        }
        self.bar();
        self.forget_room();
        if config.voice.mode != self.config.voice.mode || config.keyword != self.config.keyword {
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
        self.interruption.begin();
        self.drop_utterance();
        self.bar();
        if self.listening == Listening::No
            && let Some(stream) = &mut self.stream
        {
            stream.segmenter.await_speech_of(Speaker::Same);
        }
    }

    /// The assistant has ended, or was interrupted.
    fn end_beside_speech(&mut self) {
        self.hold(false);
        // A wake word may have interrupted it already.
        if self.aloud == Aloud::Speaking {
            self.aloud = Aloud::Until(Instant::now() + ECHO);
        }
    }

    /// Whether the assistant's voice is cancelled, so that people are heard over it.
    fn is_cancelled(&self) -> bool {
        self.config.voice.barge_in && self.canceller.is_some()
    }

    /// Whether speech over the assistant may become an utterance.
    fn may_be_interrupted(&self) -> bool {
        self.aloud != Aloud::Not
            && self.is_cancelled()
            && (self.listening != Listening::No || self.may_follow_up())
    }

    /// Learns the echo of the loudspeaker anew.
    fn forget_room(&mut self) {
        if let Some(canceller) = &mut self.canceller {
            canceller.restart();
        }
        self.interruption = Interruption::new();
    }

    /// Pauses the assistant, or lets it go on.
    fn hold(&self, is_held: bool) {
        if let Some(canceller) = &self.canceller {
            canceller.hold(is_held);
        }
    }

    /// Waits `milliseconds` for an utterance of `speaker` to begin.
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

    /// Whether an utterance after a reply needs no wake word.
    fn may_follow_up(&self) -> bool {
        self.config.voice.mode == Mode::Wake && self.config.voice.follow_up_ms.get() > 0
    }

    /// Stops waiting for an utterance; in mode `always`, returns to treating all speech as utterances.
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
                self.forget_room();
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

    /// When to stop waiting for an utterance while no sound comes. With sound, [`Self::is_listening`] decides.
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
        let is_whole = stream.read(capture);
        if let Some(canceller) = &mut self.canceller
            && !is_whole
        {
            canceller.lose_track();
        }
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

    /// Pauses the assistant when a person seems to speak over it, until that is known.
    fn guess(&mut self) {
        let knows_room = self.canceller.as_ref().is_some_and(Canceller::knows_room);
        let may_begin = self.may_be_interrupted() && knows_room;
        let is_beside = self.aloud == Aloud::Speaking && self.is_cancelled();
        let Some(stream) = &mut self.stream else {
            return;
        };
        if self.aloud == Aloud::Not {
            stream.segmenter.bar(false);
        }
        if !is_beside || self.utterance.is_some() {
            return;
        }
        let is_person = |level| may_begin && stream.segmenter.may_be_awaited(level);
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

    /// Makes utterances of the sound captured until `moved`.
    fn segment(&mut self, moved: Instant) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let Cleaned {
            linear, suppressed, ..
        } = &stream.sound;
        for segment in stream.segmenter.push_judged(linear, suppressed) {
            if segment == Segment::Started {
                self.utterance = Some(self.count.fetch_add(1, Relaxed) + 1);
            }
            let utterance = self.count.load(Relaxed);
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
                stream.log_losses();
                self.utterance = None;
                if self.config.voice.mode != Mode::Always {
                    stream.segmenter.skip(0);
                    return self.listen_no_more();
                }
            }
        }
    }

    /// Handles a word that was said.
    fn spot(&mut self, spotted: Spotted) {
        let wakes = spotted.meaning == Meaning::Wake;
        if wakes {
            // The utterance is the speech after the word.
            self.drop_utterance();
            if let Some(stream) = &mut self.stream {
                stream.segmenter.skip(0);
                stream.segmenter.recall(&stream.tail);
            }
            // The assistant is cut short now.
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
        // Once the receiver is gone, the thread ends by itself.
        let _ = self.heard.send(heard);
    }

    /// Drops the stream: the microphone gives no more sound.
    fn forget_stream(&mut self) {
        self.hold(false);
        self.stream = None;
        self.meter.clear();
        if let Some(spotter) = &mut self.spotter {
            spotter.reset();
        }
    }

    /// Drops the utterance being heard. Speech from now on may become another.
    fn drop_utterance(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.segmenter.give_up();
        }
        if let Some(utterance) = self.utterance.take() {
            self.report(Heard::Dropped { utterance });
        }
    }
}
