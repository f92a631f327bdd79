//! One utterance from its first sample to its answer. Its sound goes to the engine as it comes, so that little is left
//! to do when the person stops.
//!
//! At a pause that may be the end, the answer is begun at once (it is *speculative*). If the person goes on, the answer
//! is dropped, and the sound stays. If the endpoint is confirmed, the answer is there.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::aloud::Aloud;
use super::event::Event;
use super::hearing::{Conclusion, Effect, Hearing, Input};
use super::partial::Partial;
use super::room::Part;
use super::words::may_go_on;
use crate::commands::{
    self, Arrival, Commands, Dialogue, Force, Origin, Outcome, Precaution, Reading, Readings,
    Scope, Told, Verdict,
};
use crate::config::{self, Certainty, Config};
use crate::engine::{
    Answer, Engine, EngineError, Message, Preamble, Question, Request, Stats, Turn,
};
use crate::listen::Sense;
use crate::listen::utterance::Utterance;
use crate::platform::thermal;
use crate::sound::SAMPLE_RATE;
use crate::sound::recording::Recording;
use crate::speak;

/// Backlog of the engine from which no answer is begun before the end is certain.
const BEHIND: Duration = Duration::from_secs(1);

/// Shortest time between two pieces of an answer on the bus.
const PIECE: Duration = Duration::from_millis(200);

/// The reply when the second reading of the speech gave other commands than the first.
const NOT_CERTAIN: &str = "I am not sure that I understood.";

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
    /// What is told of the question before it is heard.
    pub recalled: Recalled,
    /// Its part in the conversation of the room.
    pub part: Part,
    pub events: mpsc::UnboundedSender<Event>,
}

/// What the model is told beside a question.
#[derive(Debug, Default)]
pub struct Recalled {
    /// Whether turns are remembered at all.
    pub remembers: bool,
    /// What was said before.
    pub history: Vec<Message>,
    /// The same, for the second reading of commands: without words of an unknown author, so that these alone never give a
    /// command.
    pub trusted: Vec<Message>,
    /// Whether these two differ.
    pub is_foreign: bool,
    /// The date and the time.
    pub now: Option<String>,
}

/// What the engine does for a turn; answers come of it if they were asked for.
type Work<'a> = Pin<Box<dyn Future<Output = Result<Option<Answers>, EngineError>> + Send + 'a>>;

/// The answers to an utterance, begun.
struct Answers {
    reply: Answer,
    transcript: Option<Answer>,
}

impl SpokenTurn {
    /// Hears the utterance to its end and tells the outcome.
    pub async fn follow(self, mut utterance: Utterance) {
        let mut hearing = Hearing::new();
        match self.hear(&mut hearing, &mut utterance).await {
            Ok((turn, answers)) => {
                self.answer(turn, answers).await;
                self.measure().await;
            }
            Err(EngineError::Cancelled) => self.cancel(),
            Err(error) => {
                // The failure is that of the whole utterance, so it is told once that has ended.
                while !hearing.is_over() {
                    let Some(speech) = utterance.next().await else {
                        return self.cancel();
                    };
                    for effect in hearing.step(Input::Speech(speech), || false) {
                        if let Effect::TellEnd(samples) = effect {
                            self.tell_end(samples);
                        }
                    }
                }
                self.fail(error);
            }
        }
    }

    /// Counts the tokens of what is to be remembered. A turn that is interrupted is remembered with a guess.
    async fn measure(&self) {
        let messages = self.part.messages();
        if self.recalled.remembers
            && !messages.is_empty()
            && let Some(tokens) = self.engine.tokens_of(messages).await
        {
            self.part.takes(tokens);
        }
    }

    /// The answers to the utterance.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] if it was dropped, or the engine's failure.
    async fn hear(
        &self,
        hearing: &mut Hearing,
        utterance: &mut Utterance,
    ) -> Result<(Turn, Answers), EngineError> {
        let turn = OnceLock::new();
        let mut answers = None;
        let mut recording = Recording::begin(&self.config.voice.record, self.utterance);
        let mut work: Option<Work<'_>> = Some(Box::pin(self.open(&turn)));
        let mut partial = Partial::new(&self.config);
        let conclusion = 'hearing: loop {
            let input = tokio::select! {
                biased;
                done = finish(&mut work) => match done {
                    Ok(begun) => {
                        answers = begun;
                        Input::Ready
                    }
                    Err(error) => Input::Failed(error),
                },
                speech = utterance.next(), if !hearing.is_over() => {
                    speech.map_or(Input::Dropped, Input::Speech)
                }
                sense = self.sense(&mut answers), if hearing.awaits_sense() => Input::Sensed(sense),
                text = self.next_words(&mut partial, &turn), if hearing.only_hears() => {
                    let utterance = self.utterance;
                    self.tell(Event::Hearing { utterance, text });
                    continue;
                }
            };
            let speculates = || turn.get().is_some_and(|turn| self.speculates(turn));
            for effect in hearing.step(input, speculates) {
                match effect {
                    Effect::TellEnd(samples) => self.tell_end(samples),
                    Effect::Push(sound) => {
                        if let Some(recording) = &mut recording {
                            recording.push(&sound);
                        }
                        turn.get().inspect(|turn| turn.push(sound));
                    }
                    Effect::Ask(at) => {
                        partial.stop();
                        work = Some(Box::pin(self.begin(&turn, at)));
                    }
                    Effect::Drop => answers = None,
                    Effect::Understand(pause, sense) => pause.understand(sense),
                    Effect::Heard => {
                        if let Some(recording) = recording.take() {
                            tokio::task::spawn_blocking(|| recording.write());
                        }
                    }
                    Effect::Conclude(conclusion) => break 'hearing conclusion,
                }
            }
        };
        drop((work, partial));
        match conclusion {
            Conclusion::Cancelled => Err(EngineError::Cancelled),
            Conclusion::Failed(error) => Err(error),
            Conclusion::Answer => {
                let heard = turn.into_inner().zip(answers);
                heard.ok_or(EngineError::Stopping)
            }
        }
    }

    /// Opens the turn in the engine.
    async fn open(&self, turn: &OnceLock<Turn>) -> Result<Option<Answers>, EngineError> {
        let opened = self.engine.listen(self.preamble()).await?;
        // Opened once.
        let _ = turn.set(opened);
        Ok(None)
    }

    /// Begins the answers; the last sample of speech was captured `at` that time.
    async fn begin(
        &self,
        turn: &OnceLock<Turn>,
        at: Instant,
    ) -> Result<Option<Answers>, EngineError> {
        let turn = turn.get().ok_or(EngineError::Stopping)?;
        self.ask(turn, at).await.map(Some)
    }

    /// Waits until what was begun at a pause shows whether all was said: a whole command, or numbers that may go on. Where
    /// neither can be told, it waits for ever.
    async fn sense(&self, answers: &mut Option<Answers>) -> Sense {
        if let Some(Answers { reply, transcript }) = answers {
            if let Some(force) = &self.force {
                if let Some(text) = reply.foresee().await {
                    return match force.catalogue.read(&text) {
                        Ok(Outcome::Commands(_)) => Sense::Complete,
                        Ok(Outcome::Question(_) | Outcome::Words(_)) | Err(_) => Sense::Incomplete,
                    };
                }
            } else if let Some(transcript) = transcript
                && let Some(text) = transcript.foresee().await
                && may_go_on(&text)
            {
                return Sense::Incomplete;
            }
        }
        std::future::pending().await
    }

    /// The words so far, once there are new ones.
    async fn next_words<'a>(
        &'a self,
        partial: &mut Partial<'a>,
        turn: &'a OnceLock<Turn>,
    ) -> String {
        match turn.get() {
            Some(turn) => partial.next(turn, || self.speculates(turn)).await,
            None => std::future::pending().await,
        }
    }

    /// Whether an answer may be begun before the end is certain. It is dropped when the person goes on,
    /// so it has to be cheap: not on a machine that is behind or hot.
    fn speculates(&self, turn: &Turn) -> bool {
        let is_scarce = self.engine.scarcity().borrow().is_some();
        let has_means = !is_scarce && !thermal::is_hot();
        self.config.voice.speculative && turn.backlog() < BEHIND && has_means
    }

    /// What the model is told before it hears anything.
    fn preamble(&self) -> Preamble {
        let base = match &self.force {
            Some(force) => force.preamble.clone(),
            None => self.config.answer.system.as_str().into(),
        };
        Preamble {
            history: self.recalled.history.clone(),
            now: self.recalled.now.clone(),
            ..base
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
        let is_needed =
            self.recalled.remembers || self.commands.awaits_consent() || self.reads_twice();
        if voice.transcript || is_needed {
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

    async fn answer(&self, turn: Turn, answers: Answers) {
        let Answers {
            mut reply,
            transcript,
        } = answers;
        let asked = self.commands.take_asked(self.arrival);
        // What halts is no answer to a question, and waits for no transcript.
        let asked = match asked {
            Some(_) if self.foresees_halt(&mut reply).await => None,
            asked => asked,
        };
        let heard = self.transcribe(transcript).shared();
        let replied = async {
            let mut aloud = self.aloud();
            let outcome = self.reply(turn, reply, heard.clone(), &mut aloud).await;
            self.conclude(outcome, aloud).await;
        };
        let decided = match asked {
            Some(asked) => self.decide(asked, heard.clone()).await,
            None => None,
        };
        if let Some((said, stats)) = decided {
            drop(replied);
            let mut aloud = self.aloud();
            aloud.push(&said);
            self.conclude(Ok((said, stats)), aloud).await;
        } else if self.config.voice.transcript || self.recalled.remembers {
            tokio::join!(replied, heard.clone());
        } else {
            replied.await;
        }
    }

    /// Whether the reply halts.
    async fn foresees_halt(&self, reply: &mut Answer) -> bool {
        let (Some(force), Some(text)) = (&self.force, reply.foresee().await) else {
            return false;
        };
        let is_command = matches!(force.catalogue.read(&text), Ok(Outcome::Commands(_)));
        is_command && force.catalogue.precaution(&text) != Precaution::SecondReading
    }

    /// Tells the answer, and waits until it was said.
    async fn conclude(&self, outcome: Result<(String, Stats), EngineError>, aloud: Aloud) {
        let utterance = self.utterance;
        if let Ok((text, _)) = &outcome {
            if self.recalled.is_foreign {
                self.part.foreign();
            }
            self.part.answers(text, aloud.spoken());
            self.part.whole();
        }
        self.tell(match outcome {
            Ok((text, stats)) => reply_event(utterance, text, stats),
            Err(error) => Event::Failed { utterance, error },
        });
        if aloud.finish().await {
            self.part.over();
        }
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
        self.part.asked(&text);
        if self.config.voice.transcript {
            let text = text.clone();
            self.tell(Event::Transcript { utterance, text });
        }
        Some((text, stats))
    }

    /// Takes the transcript for a yes or a no to the command that waits under `asked`, and returns the outcome; `None`:
    /// it is neither.
    async fn decide(
        &self,
        asked: u64,
        heard: impl Future<Output = Option<(String, Stats)>>,
    ) -> Option<(String, Stats)> {
        let (text, stats) = heard.await?;
        let said = (text.as_str(), stats.confidence.mean());
        let decided = self.commands.consent(asked, said, self.utterance);
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
        heard: impl Future<Output = Option<(String, Stats)>>,
        aloud: &mut Aloud,
    ) -> Result<(String, Stats), EngineError> {
        let mut spoken = 0;
        let mut pieces = Pieces::new(self);
        let growing = |text: &str| {
            if self.force.is_none() || !commands::may_be_call(text) {
                aloud.push(&text[spoken..]);
                spoken = text.len();
                self.part.answers(text, aloud.spoken());
                pieces.grow(text);
            }
        };
        let (text, stats) = reply.follow(growing).await?;
        if spoken > 0 {
            pieces.end(&text);
        }
        let confidence = stats.confidence.mean();
        let said = self.understand(&turn, text, confidence, heard).await;
        if spoken == 0 {
            aloud.push(&said);
        }
        Ok((said, stats))
    }

    /// Carries out the commands that an answer consists of, which the model gave with this confidence; returns the text
    /// for the person.
    async fn understand(
        &self,
        turn: &Turn,
        answer: String,
        confidence: f64,
        heard: impl Future<Output = Option<(String, Stats)>>,
    ) -> String {
        let Some(force) = &self.force else {
            return answer;
        };
        let origin = Origin::Voice {
            utterance: Some(self.utterance),
        };
        let mut dialogue = self.commands.begin(force, &origin, self.arrival, false);
        match self.judge(turn, force, &answer, confidence, heard).await {
            Verdict::CarryOut => {}
            Verdict::Ask => dialogue.doubt(),
            Verdict::Nothing => {
                log::info!(utterance = self.utterance; "it is not certain that commands were meant");
                self.part.forget();
                return NOT_CERTAIN.into();
            }
        }
        let mut answer = Ok(answer);
        loop {
            match dialogue.follow(answer).await {
                Ok(None) => answer = ask_again(turn, &dialogue).await,
                Ok(Some(reading)) => return self.told(reading),
                Err(error) => {
                    log::warn!(utterance = self.utterance; "{error}");
                    self.part.forget();
                    return error.to_string();
                }
            }
        }
    }

    /// Whether commands are carried out only if the transcript gives the same.
    fn reads_twice(&self) -> bool {
        self.force.is_some() && self.config.commands.certainty != Certainty::One
    }

    /// What becomes of the commands of an answer, which the model gave with this confidence.
    async fn judge(
        &self,
        turn: &Turn,
        force: &Force,
        answer: &str,
        confidence: f64,
        heard: impl Future<Output = Option<(String, Stats)>>,
    ) -> Verdict {
        match force.catalogue.precaution(answer) {
            _ if !self.reads_twice() => return Verdict::CarryOut,
            Precaution::None => return Verdict::CarryOut,
            Precaution::Consent => return Verdict::Ask,
            Precaution::SecondReading => {}
        }
        let heard = heard.await.filter(|(text, _)| !text.trim().is_empty());
        let Some((text, stats)) = heard else {
            return Verdict::Nothing;
        };
        let readings = Readings {
            sound: confidence,
            transcript: stats.confidence.mean(),
            agree: self.reads_alike(turn, force, answer, text).await,
        };
        readings.verdict(self.config.commands.certainty)
    }

    /// Whether the transcript, read as text, gives the same commands as this answer.
    async fn reads_alike(&self, turn: &Turn, force: &Force, answer: &str, text: String) -> bool {
        let mut request = force.request(&self.config.answer, Question::Text(text), Scope::All);
        let Recalled { trusted, now, .. } = &self.recalled;
        request.preamble.history.clone_from(trusted);
        request.preamble.now.clone_from(now);
        let read = async { self.engine.submit_for(turn, request).await?.text().await };
        match read.await {
            Ok((second, _)) => force.catalogue.agree(answer, &second),
            Err(error) => {
                log::warn!(utterance = self.utterance; "no second reading: {error}");
                false
            }
        }
    }

    /// The text for the person about the outcome of an utterance. Its commands are remembered.
    fn told(&self, reading: Reading) -> String {
        let told = match (&self.force, reading) {
            (_, Reading::Question(text) | Reading::Words(text)) => return text,
            (None, Reading::Commands { words, .. }) => return words,
            (Some(force), commands) => force.catalogue.tell(commands),
        };
        let Told {
            text,
            called,
            is_foreign,
            ..
        } = told;
        self.part.called(called, is_foreign);
        match self.choice() {
            Some(choice) => format!("{text}\n{choice}"),
            None => text,
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

    fn aloud(&self) -> Aloud {
        Aloud::new(
            self.speech.clone(),
            Arc::clone(&self.config),
            self.utterance,
        )
    }

    fn tell(&self, event: Event) {
        // The receiver is gone when the daemon ends.
        let _ = self.events.send(event);
    }
}

/// The pieces in which an answer is told as it grows.
struct Pieces<'a> {
    turn: &'a SpokenTurn,
    /// Bytes that were told.
    told: usize,
    /// When.
    at: Instant,
}

impl<'a> Pieces<'a> {
    fn new(turn: &'a SpokenTurn) -> Self {
        Self {
            turn,
            told: 0,
            at: Instant::now(),
        }
    }

    /// Tells what is new in `text`, not too often.
    fn grow(&mut self, text: &str) {
        if self.told == 0 || self.at.elapsed() >= PIECE {
            self.end(text);
        }
    }

    /// Tells what is new in `text`.
    fn end(&mut self, text: &str) {
        if text.len() > self.told {
            let (utterance, piece) = (self.turn.utterance, text[self.told..].to_owned());
            (self.told, self.at) = (text.len(), Instant::now());
            self.turn.tell(Event::Replying { utterance, piece });
        }
    }
}

/// Asks about the same speech again, with the results of commands.
async fn ask_again(turn: &Turn, dialogue: &Dialogue) -> Result<String, EngineError> {
    let answers = turn.ask([dialogue.request(Question::Heard(None))]).await;
    let answer = answers?.pop().ok_or(EngineError::Stopping)?;
    answer.text().await.map(|(text, _)| text)
}

/// The result of the work under way; without any it waits for ever. Cancel safe.
async fn finish(work: &mut Option<Work<'_>>) -> Result<Option<Answers>, EngineError> {
    let Some(under_way) = work else {
        return std::future::pending().await;
    };
    let done = under_way.await;
    *work = None;
    done
}

fn reply_event(utterance: u64, text: String, stats: Stats) -> Event {
    if let (Some(latency), Some(sound)) = (stats.speech_to_token, stats.sound) {
        log::info!(
            utterance = utterance,
            speech_to_token_ms = latency.as_millis(),
            real_time_factor = (sound.real_time_factor * 100.0).round() / 100.0,
            backlog_ms = sound.backlog.as_millis();
            "utterance answered"
        );
    }
    Event::Reply {
        utterance,
        text,
        stats: Box::new(stats),
    }
}
