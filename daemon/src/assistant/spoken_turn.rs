//! One utterance from its first sample to its answer. Its sound goes to the engine as it comes, so that little is left
//! to do when the person stops.
//!
//! At a pause that may be the end, the answer is begun at once (it is *speculative*). If the person goes on, the answer
//! is dropped, and the sound stays. If the endpoint is confirmed, the answer is there.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gemmad_api::Stats;
use tokio::sync::mpsc;

use super::event::Event;
use crate::commands::{self, Arrival, Commands, Dialogue, Force, Origin, Outcome, Reading, Scope};
use crate::config::{self, Config};
use crate::engine::{Answer, Engine, EngineError, Preamble, Question, Request, SAMPLE_RATE, Turn};
use crate::listen::Sense;
use crate::listen::utterance::{Pause, Speech, Utterance};
use crate::platform::thermal;
use crate::sound::recording::Recording;
use crate::speak::{self, SpeechError};

/// Backlog of the engine from which no answer is begun before the end is certain.
const BEHIND: Duration = Duration::from_secs(1);

/// The turn of one utterance.
pub struct SpokenTurn {
    pub config: Arc<Config>,
    pub engine: Engine,
    pub commands: Commands,
    pub speech: speak::Speech,
    /// The commands that may be asked for, if any.
    pub force: Option<Arc<Force>>,
    pub utterance: u64,
    /// When it began.
    pub arrival: Arrival,
    pub events: mpsc::UnboundedSender<Event>,
}

/// The answers to an utterance, begun.
struct Answers {
    reply: Answer,
    transcript: Option<Answer>,
}

impl SpokenTurn {
    /// Hears the utterance to its end and tells the outcome.
    pub async fn follow(self, utterance: Utterance) {
        let mut heard = Intake::new(&self, utterance);
        match self.hear(&mut heard).await {
            Ok(Some((turn, answers))) => self.answer(turn, answers).await,
            Ok(None) => self.cancel(),
            Err(error) => {
                // The failure is that of the whole utterance, so it is told once that has ended.
                while !heard.is_over && heard.receive().await.is_some() {}
                if heard.is_over {
                    self.fail(error);
                } else {
                    self.cancel();
                }
            }
        }
    }

    /// The answers to the utterance; `None` if it was dropped.
    async fn hear(&self, heard: &mut Intake<'_>) -> Result<Option<(Turn, Answers)>, EngineError> {
        let Some(turn) = heard.during(self.engine.listen(self.preamble())).await else {
            return Ok(None);
        };
        let turn = turn?;
        // Begun at a pause.
        let mut answers = None;
        let mut pause = None;
        let mut recording = Recording::begin(&self.config.voice.record, self.utterance);
        loop {
            let speech = tokio::select! {
                biased;
                speech = heard.next() => speech,
                sense = self.sense(&mut answers), if pause.is_some() => {
                    if let Some(pause) = pause.take() {
                        Pause::understand(pause, sense);
                    }
                    continue;
                }
            };
            match speech {
                None => return Ok(None),
                Some(Speech::Sound(sound)) => {
                    if let Some(recording) = &mut recording {
                        recording.push(&sound);
                    }
                    turn.push(sound);
                }
                Some(Speech::Paused(new)) => {
                    if heard.is_up_to_date() && self.speculates(&turn) {
                        let Some(begun) = heard.during(self.ask(&turn, new.at)).await else {
                            return Ok(None);
                        };
                        answers = Some(begun?);
                        pause = Some(new);
                    }
                }
                Some(Speech::Resumed) => (answers, pause) = (None, None),
                Some(Speech::Ended(at)) => {
                    if let Some(recording) = recording {
                        tokio::task::spawn_blocking(|| recording.write());
                    }
                    let answers = match answers {
                        Some(answers) => answers,
                        None => self.ask(&turn, at).await?,
                    };
                    return Ok(Some((turn, answers)));
                }
            }
        }
    }

    /// Waits until the answer begun at a pause shows whether a whole command was said. Where no command is expected, it
    /// waits for ever.
    async fn sense(&self, answers: &mut Option<Answers>) -> Sense {
        if let (Some(force), Some(answers)) = (&self.force, answers)
            && let Some(text) = answers.reply.foresee().await
        {
            match force.catalogue.read(&text) {
                Ok(Outcome::Commands(_)) => Sense::Complete,
                Ok(Outcome::Question(_) | Outcome::Words(_)) | Err(_) => Sense::Incomplete,
            }
        } else {
            std::future::pending().await
        }
    }

    /// Whether an answer may be begun before the end is certain. It is dropped when the person goes on,
    /// so it has to be cheap: not on a machine that is behind or hot.
    fn speculates(&self, turn: &Turn) -> bool {
        self.config.voice.speculative && turn.backlog() < BEHIND && !thermal::is_hot()
    }

    /// What the model is told before it hears anything.
    fn preamble(&self) -> Preamble {
        match &self.force {
            Some(force) => force.preamble.clone(),
            None => self.config.answer.system.as_str().into(),
        }
    }

    async fn ask(&self, turn: &Turn, at: Instant) -> Result<Answers, EngineError> {
        let Config {
            answer,
            transcribe,
            voice,
            ..
        } = &*self.config;
        let reply = match &self.force {
            Some(force) => force.request(answer, Question::Heard(None), Scope::All),
            None => Request::reply(answer),
        };
        let mut requests = vec![reply.heard(at)];
        if voice.transcript || self.commands.awaits_consent() {
            requests.push(Request::transcript(transcribe, &transcribe.language).heard(at));
        }
        let mut answers = turn.ask(requests).await?.into_iter();
        let reply = answers.next().ok_or(EngineError::Stopping)?;
        let transcript = answers.next();
        Ok(Answers { reply, transcript })
    }

    fn tell_end(&self, samples: usize) {
        let milliseconds = samples * 1000 / SAMPLE_RATE as usize;
        let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
        log::info!(
            event = "utterance", utterance = self.utterance, ms = milliseconds;
            "utterance heard"
        );
        self.tell(Event::Ended {
            utterance: self.utterance,
            milliseconds,
        });
    }

    async fn answer(&self, turn: Turn, Answers { reply, transcript }: Answers) {
        let replied = async {
            let mut aloud = Aloud::new(self);
            let outcome = self.reply(turn, reply, &mut aloud).await;
            self.conclude(outcome, aloud).await;
        };
        match self.commands.take_asked(self.arrival) {
            Some(asked) => match self.decide(asked, transcript).await {
                Some((said, stats)) => {
                    drop(replied);
                    let mut aloud = Aloud::new(self);
                    aloud.push(&said);
                    self.conclude(Ok((said, stats)), aloud).await;
                }
                None => replied.await,
            },
            None => {
                tokio::join!(replied, self.transcribe(transcript));
            }
        }
    }

    /// Tells the answer, and waits until it was said.
    async fn conclude(&self, outcome: Result<(String, Stats), EngineError>, aloud: Aloud<'_>) {
        let utterance = self.utterance;
        self.tell(match outcome {
            Ok((text, stats)) => reply_event(utterance, text, stats),
            Err(error) => Event::Failed { utterance, error },
        });
        aloud.finish().await;
    }

    /// Tells the transcript, and returns it.
    async fn transcribe(&self, transcript: Option<Answer>) -> Option<(String, Stats)> {
        let utterance = self.utterance;
        let transcribed = transcript?.text().await;
        let (text, stats) = transcribed
            .inspect_err(|error| log::warn!(utterance = utterance; "no transcript: {error}"))
            .ok()?;
        if self.config.log.content {
            log::info!(utterance = utterance; "heard: {text}");
        }
        self.tell(Event::Transcript {
            utterance,
            text: text.clone(),
        });
        Some((text, stats))
    }

    /// Takes the transcript for a yes or a no to the command that waits under `asked`, and returns the outcome; `None`:
    /// it is neither.
    async fn decide(&self, asked: u64, transcript: Option<Answer>) -> Option<(String, Stats)> {
        let (text, stats) = self.transcribe(transcript).await?;
        let decided = self.commands.consent(asked, &text, self.utterance);
        let reading = Reading::Commands {
            invocations: decided.await?,
            words: String::new(),
        };
        Some((self.told(reading), stats))
    }

    /// Speaks the answer while it grows. Text that may be a command is held back until its outcome is known.
    async fn reply(
        &self,
        turn: Turn,
        reply: Answer,
        aloud: &mut Aloud<'_>,
    ) -> Result<(String, Stats), EngineError> {
        let mut spoken = 0;
        let growing = |text: &str| {
            if self.force.is_none() || !commands::may_be_call(text) {
                aloud.push(&text[spoken..]);
                spoken = text.len();
            }
        };
        let (text, stats) = reply.follow(growing).await?;
        let said = self.understand(&turn, text).await;
        if spoken == 0 {
            aloud.push(&said);
        }
        Ok((said, stats))
    }

    /// Carries out the commands that an answer consists of; returns the text for the person.
    async fn understand(&self, turn: &Turn, answer: String) -> String {
        let Some(force) = &self.force else {
            return answer;
        };
        let origin = Origin::Voice {
            utterance: Some(self.utterance),
        };
        let mut dialogue = self.commands.begin(force, &origin, self.arrival, false);
        let mut answer = Ok(answer);
        loop {
            match dialogue.follow(answer).await {
                Ok(None) => answer = ask_again(turn, &dialogue).await,
                Ok(Some(reading)) => return self.told(reading),
                Err(error) => {
                    log::warn!(utterance = self.utterance; "{error}");
                    return error.to_string();
                }
            }
        }
    }

    /// The text for the person about the outcome of an utterance.
    fn told(&self, reading: Reading) -> String {
        match reading {
            Reading::Question(text) | Reading::Words(text) => text,
            Reading::Commands { invocations, words } if words.is_empty() => {
                let mut lines: Vec<_> = invocations.iter().map(ToString::to_string).collect();
                lines.extend(self.choice());
                lines.join("\n")
            }
            Reading::Commands { words, .. } => words,
        }
    }

    /// The hint how to answer a command that waits for consent, if one does.
    fn choice(&self) -> Option<String> {
        let config::Commands { yes, no, .. } = &self.config.commands;
        let (yes, no) = (yes.first()?, no.first()?);
        let waits = self.commands.awaits_consent();
        waits.then(|| format!("Say “{yes}” or “{no}”."))
    }

    fn cancel(&self) {
        log::info!(utterance = self.utterance; "utterance dropped");
        self.fail(EngineError::Cancelled);
    }

    fn fail(&self, error: EngineError) {
        let utterance = self.utterance;
        self.tell(Event::Failed { utterance, error });
    }

    fn tell(&self, event: Event) {
        // The receiver is gone when the daemon ends.
        let _ = self.events.send(event);
    }
}

/// The utterance, as far as it was heard. Its end is told as it comes, whatever the turn is waiting for.
struct Intake<'a> {
    turn: &'a SpokenTurn,
    utterance: Utterance,
    /// Steps that came while the turn was waiting for the engine.
    waiting: VecDeque<Speech>,
    samples: usize,
    is_over: bool,
}

impl<'a> Intake<'a> {
    fn new(turn: &'a SpokenTurn, utterance: Utterance) -> Self {
        Self {
            turn,
            utterance,
            waiting: VecDeque::new(),
            samples: 0,
            is_over: false,
        }
    }

    /// Whether no later step is known.
    fn is_up_to_date(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next step; `None`: the utterance was dropped. Cancel safe.
    async fn next(&mut self) -> Option<Speech> {
        match self.waiting.pop_front() {
            Some(speech) => Some(speech),
            None => self.receive().await,
        }
    }

    /// The result of `work`, beside which the utterance goes on; `None`: the utterance was dropped.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                speech = self.receive(), if !self.is_over => self.waiting.push_back(speech?),
            }
        }
    }

    async fn receive(&mut self) -> Option<Speech> {
        let speech = self.utterance.next().await?;
        match &speech {
            Speech::Sound(sound) => self.samples += sound.len(),
            Speech::Ended(_) => {
                self.is_over = true;
                self.turn.tell_end(self.samples);
            }
            Speech::Paused(_) | Speech::Resumed => {}
        }
        Some(speech)
    }
}

/// Asks about the same speech again, with the results of commands.
async fn ask_again(turn: &Turn, dialogue: &Dialogue) -> Result<String, EngineError> {
    let answers = turn.ask([dialogue.request(Question::Heard(None))]).await;
    let answer = answers?.pop().ok_or(EngineError::Stopping)?;
    answer.text().await.map(|(text, _)| text)
}

/// The answer on its way to the loudspeaker, if it is to be spoken.
struct Aloud<'a> {
    turn: &'a SpokenTurn,
    /// Begun with the first piece; or why it was not.
    speaking: Option<Result<speak::Speaking, SpeechError>>,
}

impl<'a> Aloud<'a> {
    fn new(turn: &'a SpokenTurn) -> Self {
        Self {
            turn,
            speaking: None,
        }
    }

    fn push(&mut self, piece: &str) {
        let SpokenTurn { config, speech, .. } = self.turn;
        if config.speech.enabled {
            let begin = || speech.answer(&config.speech);
            if let Ok(speaking) = self.speaking.get_or_insert_with(begin) {
                speaking.push(piece);
            }
        }
    }

    /// Waits until it was said; dropped before, it falls silent.
    async fn finish(self) {
        let Some(speaking) = self.speaking else {
            return;
        };
        let spoken = match speaking {
            Ok(speaking) => speaking.finish().await,
            Err(error) => Err(error),
        };
        match spoken {
            Ok(()) | Err(SpeechError::Stopped) => {}
            Err(error) => {
                log::warn!(utterance = self.turn.utterance; "the answer was not spoken: {error}");
            }
        }
    }
}

fn reply_event(utterance: u64, text: String, stats: Stats) -> Event {
    if let (Some(latency), Some(factor), Some(backlog)) = (
        stats.speech_to_token_ms,
        stats.real_time_factor,
        stats.backlog_ms,
    ) {
        log::info!(
            utterance = utterance,
            speech_to_token_ms = latency.round(),
            real_time_factor = (factor * 100.0).round() / 100.0,
            backlog_ms = backlog.round();
            "utterance answered"
        );
    }
    Event::Reply {
        utterance,
        text,
        stats,
    }
}
