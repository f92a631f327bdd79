//! The voice thread: microphone → 16 kHz → speech or not → utterances.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::attention::{Attention, Effect, Input, Use};
use super::barge_in::Interruption;
use super::echo::{Canceller, Cleaned};
use super::front_end::Stream;
use super::keyword::{Spotted, Spotter};
use super::messages::{Beginning, Heard, Order};
use super::segmenter::Segment;
use super::utterance::Telling;
use crate::config::{Config, Meaning};
use crate::platform::worker;
use crate::sound::capture::Capture;
use crate::sound::device::Wanted;
use crate::sound::meter::Meter;
use crate::sound::stream::Streaming;
use crate::sound::supervisor::{Change, Report, Supervisor};

/// The voice thread's own state.
pub struct Listener {
    config: Arc<Config>,
    orders: Rc<Receiver<Order>>,
    heard: UnboundedSender<Heard>,
    microphone: Supervisor<Capture>,
    meter: Meter,
    /// Sound on its way from the open microphone.
    stream: Option<Stream>,
    attention: Attention,
    /// The echo canceller, if a loudspeaker is open.
    canceller: Option<Canceller>,
    /// Guesses whether a person speaks over the assistant.
    interruption: Interruption,
    /// Spots words without the model.
    spotter: Option<Spotter>,
    /// The utterance being heard.
    utterance: Option<Telling>,
    /// Utterances so far.
    count: Arc<AtomicU64>,
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
    let _ = heard.send(Heard::Unspottable(
        (!problems.is_empty()).then(|| problems.join("; ")),
    ));
    spotter
}

impl Listener {
    /// A listener with this configuration, which hears once it runs.
    pub fn new(
        beginning: Beginning,
        orders: Rc<Receiver<Order>>,
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
            attention: Attention::new(&config.voice, muted),
            config,
            orders,
            heard,
            stream: None,
            canceller: None,
            interruption: Interruption::new(),
            utterance: None,
            count: utterances,
        }
    }

    /// Sleeps until an order, sound, or a deadline of the microphone wakes it: unparking a thread
    /// that is awake makes its next sleep return at once, so nothing is missed.
    pub fn run(mut self) {
        while self.obey() && !self.heard.is_closed() {
            self.attend();
            // Sound wakes the thread too.
            let given_up = self.attention.deadline();
            let given_up = given_up.filter(|_| self.stream.is_none());
            worker::sleep_until([self.microphone.deadline(), given_up]);
        }
    }

    /// Carries out the orders that came; `false` once the handle is gone.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Mute(muted)) => self.step(Input::Mute(muted)),
                Ok(Order::Beside(far_end)) => {
                    self.canceller = Some(Canceller::new(far_end));
                    self.interruption = Interruption::new();
                    self.step(Input::Canceller(true));
                }
                Ok(Order::BesideSpeech(true)) => {
                    self.interruption.begin();
                    self.step(Input::Speaking);
                }
                Ok(Order::BesideSpeech(false)) => self.step(Input::Silent),
                Ok(Order::Configure(config)) => self.configure(config),
                Ok(Order::Listen) => self.step(Input::Listen),
                Ok(Order::FollowUp) => self.step(Input::FollowUp),
                Ok(Order::Stop) => self.step(Input::Stop),
                #[cfg(test)]
                Ok(Order::Panic) => panic!("as ordered"),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn configure(&mut self, config: Arc<Config>) {
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
        self.forget_room();
        if config.voice.mode != self.config.voice.mode || config.keyword != self.config.keyword {
            self.spotter = spotter(&config, &self.heard);
        }
        self.step(Input::Configure((&config.voice).into()));
        self.config = config;
    }

    fn step(&mut self, input: Input) {
        self.step_at(Instant::now(), input);
    }

    fn step_at(&mut self, now: Instant, input: Input) {
        for effect in self.attention.step(now, input) {
            match (effect, &mut self.stream) {
                (Effect::Drop, _) => self.drop_utterance(),
                (Effect::Hold(is_held), _) => self.hold(is_held),
                (Effect::Awake(is_awake), _) => self.report(Heard::Awake(is_awake)),
                (Effect::Forget, Some(stream)) => stream.segmenter.skip(0),
                (Effect::ForgetAllButTail, Some(stream)) => {
                    stream.segmenter.skip(0);
                    stream.segmenter.recall(&stream.tail);
                }
                (Effect::Await(speaker), Some(stream)) => stream.segmenter.await_speech_of(speaker),
                (Effect::Bar(is_barred), Some(stream)) => stream.segmenter.bar(is_barred),
                (Effect::Guess, Some(stream)) => stream.segmenter.guess_beginning(),
                (_, None) => {}
            }
        }
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

    fn attend(&mut self) {
        if self.canceller.as_ref().is_some_and(Canceller::is_over) {
            self.canceller = None;
            self.step(Input::Canceller(false));
        }
        if self.attention.wants_microphone() {
            self.microphone.open();
        } else {
            self.microphone.close();
            self.forget_stream();
        }
        match self.microphone.look(Instant::now()) {
            Some(Change::Opened) => {
                let capture = self.microphone.stream();
                self.stream = capture.map(|capture| Stream::new(&self.config, capture));
                self.forget_room();
                self.step(Input::Opened);
            }
            Some(Change::Lost) => {
                self.step(Input::Lost);
                self.forget_stream();
            }
            None => {}
        }
        self.hear();
    }

    fn hear(&mut self) {
        let (Some(capture), Some(stream)) = (self.microphone.stream(), &mut self.stream) else {
            return self.step(Input::Passed { is_heard: false });
        };
        let moved = capture.held().pulse.moved();
        let is_whole = stream.read(capture);
        if let Some(canceller) = &mut self.canceller
            && !is_whole
        {
            canceller.lose_track();
        }
        let canceller = self.canceller.as_mut();
        stream.clean(canceller.filter(|_| self.attention.cancels_echo()));
        self.meter.push(&stream.samples);
        let words = self.spotter.as_mut();
        let spotted = words.map(|it| it.push(&stream.sound.suppressed));
        if self.utterance.as_ref().is_some_and(Telling::is_unwanted) {
            self.drop_utterance();
        }
        let is_heard = self.utterance.is_some();
        self.step_at(moved, Input::Passed { is_heard });
        self.guess();
        self.use_sound(moved);
        for spotted in spotted.into_iter().flatten() {
            self.spot(spotted);
        }
    }

    /// Guesses whether a person speaks over the assistant.
    fn guess(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if !self.attention.hears_over_speech() || self.utterance.is_some() {
            return;
        }
        let knows_room = self.canceller.as_ref().is_some_and(Canceller::knows_room);
        let may_begin = self.attention.may_be_interrupted() && knows_room;
        let is_person = |level| may_begin && stream.segmenter.may_be_awaited(level);
        if let Some(guess) = self.interruption.hear(&stream.sound, is_person) {
            log::debug!("speech over the assistant: {guess:?}");
            self.step(Input::Guessed(guess));
        }
    }

    /// Uses the sound captured until `moved`.
    fn use_sound(&mut self, moved: Instant) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let suppressed = &stream.sound.suppressed;
        match self.attention.use_of_sound(self.utterance.is_some()) {
            Use::Utterance => self.segment(moved),
            Use::Background => stream.segmenter.overhear(suppressed),
            Use::None => stream.segmenter.skip(suppressed.len()),
        }
    }

    /// Makes utterances of the sound captured until `moved`.
    fn segment(&mut self, moved: Instant) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if let Some(sense) = self.utterance.as_mut().and_then(Telling::understood) {
            stream.segmenter.understand(sense);
        }
        let Cleaned {
            linear, suppressed, ..
        } = &stream.sound;
        for segment in stream.segmenter.push_judged(linear, suppressed) {
            match (segment, &mut self.utterance) {
                (Segment::Started { speech_begin }, utterance) => {
                    let number = self.count.fetch_add(1, Relaxed) + 1;
                    let began = stream.time_of(speech_begin, moved);
                    let (telling, heard) = Telling::begin(number, began);
                    *utterance = Some(telling);
                    // Once the receiver is gone, the thread ends by itself.
                    let _ = self.heard.send(Heard::Utterance(heard));
                }
                (Segment::Sound(samples), Some(utterance)) => utterance.sound(samples),
                (Segment::Paused { speech_end }, Some(utterance)) => {
                    utterance.pause(stream.time_of(speech_end, moved));
                }
                (Segment::Resumed, Some(utterance)) => utterance.resume(),
                (Segment::Ended { speech_end }, utterance) => {
                    if let Some(utterance) = utterance.take() {
                        utterance.end(stream.time_of(speech_end, moved));
                    }
                    stream.log_losses();
                    if self.attention.hears_one() {
                        return self.step(Input::Ended);
                    }
                }
                (_, None) => {}
            }
        }
    }

    /// Reports a word that was said, and wakes if it wakes.
    fn spot(&mut self, spotted: Spotted) {
        let wakes = spotted.meaning == Meaning::Wake;
        self.report(Heard::Spotted(spotted));
        if wakes {
            self.step(Input::Wake);
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
        self.utterance = None;
        if let Some(stream) = &mut self.stream {
            stream.segmenter.give_up();
        }
    }
}
