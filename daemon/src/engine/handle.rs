//! The handle of the engine: requests go in, answers come out.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::answer::Answer;
use super::audio::Spans;
use super::error::EngineError;
use super::grammar::{Ahead, Form, Rehearsal};
use super::host::Host;
use super::keeping::{self, Keeping};
use super::lease::Lease;
use super::limits::Limits;
use super::phase::Phase;
use super::probe::Probe;
use super::probe::files::Files;
use super::prompt;
use super::prompt::rendering::{self, Passage};
use super::prompt::stretches::Bounds;
use super::request::{Message, Preamble, Priority, Question, Request};
use super::requests::Requests;
use super::scarcity::{Change, Pace, Scarcity, Watch};
use super::stats::Health;
use super::stop::Stop;
use super::turn::Turn;
use crate::config::{self, Config, Follow};
use crate::engine::llama::model::{Model, Token};
use crate::engine::schedule::hearing::{Opening, Recording};
use crate::engine::schedule::places::{Place, Places};
use crate::engine::schedule::scheduler::{Carried, Fate, Kept, Work};
use crate::engine::schedule::sequence::Job;
use crate::platform::memory::Kernel;
use crate::platform::work;

/// The handle of the engine. Clones lead to the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    phase: watch::Receiver<Phase>,
    carried: watch::Receiver<Carried>,
    scarcity: watch::Sender<Option<Scarcity>>,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) places: Arc<Places>,
    limits: Limits,
    requests: Requests,
    keeping: Keeping,
    wanted: keeping::Wanted,
    ahead: Ahead,
    crashed: watch::Receiver<bool>,
    stop: Stop,
}

impl Engine {
    /// Starts the engine thread. It waits for [`Engine::load`], and then has `probe` run the model's files first.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(config: &Config, probe: Option<Probe>) -> std::io::Result<Self> {
        let (phase, phase_seen) = watch::channel(Phase::Starting);
        let (carried, carried_seen) = watch::channel(Carried::default());
        let (work, work_received) = mpsc::channel();
        let (crashed, crashed_seen) = watch::channel(false);
        let stop = Stop::default();
        let wanted = keeping::Wanted::new(&config.model);
        let keeping = Keeping::default();
        let system = config.answer.system.as_str();
        keeping.put(Kept::Answers, (0, Some(system.into())));
        let ahead = Ahead::default();
        let scarcity = watch::Sender::new(None);
        let host = Host {
            config: config.clone(),
            keeping: keeping.clone(),
            wanted: wanted.clone(),
            probe,
            phase,
            ahead: ahead.clone(),
            carried,
            scarcity: scarcity.subscribe(),
            crashed,
            stop: stop.clone(),
        };
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || host.run(&work_received))?;
        Ok(Self {
            phase: phase_seen,
            carried: carried_seen,
            scarcity,
            work,
            places: Arc::new(Places::new(&config.engine)),
            limits: Limits::new(&config.engine),
            requests: Requests::default(),
            keeping,
            wanted,
            ahead,
            crashed: crashed_seen,
            stop,
        })
    }

    /// Has the engine thread load the model its configuration names, unless it is loaded.
    pub fn load(&self) {
        self.decide(Fate::Load);
    }

    /// Whether the files of the model are others than those that were loaded. Looks at them, which may block.
    #[must_use]
    pub fn has_new_files(&self) -> bool {
        let loaded = match &*self.phase.borrow() {
            Phase::Ready(ready) => ready.files.clone(),
            _ => return false,
        };
        loaded != Files::of(&self.wanted.get())
    }

    /// The same as [`Engine::load`], but if the model's files are others than those that were loaded, they are loaded. Looks at
    /// them, which may block.
    pub fn load_newest(&self) {
        self.decide(if self.has_new_files() {
            Fate::Reload
        } else {
            Fate::Load
        });
    }

    /// Has the engine thread load `model` instead of the one it has. That one answers what was asked of it before; later
    /// requests wait.
    fn replace(&self, model: &config::Model) {
        self.wanted.put(model);
        self.decide(Fate::Reload);
    }

    /// Gives back the model's memory, as soon as what was asked of it is answered. Returns then, or when something else was
    /// decided meanwhile. The next request loads it again.
    ///
    /// # Errors
    /// [`EngineError::Stopping`].
    pub async fn unload(&self) -> Result<(), EngineError> {
        self.decide(Fate::Unload);
        // After that the phase follows from it.
        self.beat().await;
        let mut phase = self.phase.clone();
        let unloaded = phase.wait_for(|phase| !matches!(phase, Phase::Unloading));
        unloaded.await.map(drop).map_err(|_| EngineError::Stopping)
    }

    /// Returns once the model is loaded, and has it loaded if it is not.
    ///
    /// # Errors
    /// That there is none, with the reason.
    pub async fn loaded(&self) -> Result<(), EngineError> {
        self.ready().await.map(drop)
    }

    fn decide(&self, fate: Fate) {
        // If the thread is gone, its phase says so.
        let _ = self.work.send(Work::Fate(fate));
    }

    /// What the engine is doing, now and whenever it changes.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Looks at the memory that `kernel` tells of, and has some given back when it is scarce. Ends with the engine thread.
    pub async fn watch_memory(self, kernel: Kernel, pace: Pace) {
        let mut watch = Watch::new(pace.calm);
        let mut looks = tokio::time::interval(pace.look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let scarcity = match watch.step(Instant::now(), kernel.look()) {
                None => continue,
                Some(Change::Scarce(why)) => {
                    log::warn!(event = "memory-scarce"; "{why}");
                    Some(why)
                }
                Some(Change::Enough) => {
                    log::info!("memory is not scarce any more");
                    None
                }
            };
            self.scarcity.send_replace(scarcity);
            if self.work.send(Work::Scarce(scarcity.is_some())).is_err() {
                return;
            }
        }
    }

    /// Why memory is scarce, now and whenever it changes; `None` if it is not.
    #[must_use]
    pub fn scarcity(&self) -> watch::Receiver<Option<Scarcity>> {
        self.scarcity.subscribe()
    }

    /// The limits on the texts of a request.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns once the engine thread has panicked while serving. Requests under way have then failed, and only a
    /// restart of the daemon helps.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.clone();
        if crashed.wait_for(|crashed| *crashed).await.is_err() {
            // The thread has ended without a failure.
            std::future::pending::<()>().await;
        }
    }

    /// The engine's load: requests, turns and KV cells.
    #[must_use]
    pub fn health(&self) -> Health {
        let Carried { health, questions } = self.carried.borrow().clone();
        let queued = self.places.questions().saturating_sub(questions);
        Health { queued, ..health }
    }

    /// Tokens that a question leaves free for what was said before it, if it and its answer take `tokens`; `None` while there
    /// is no model. A question that needs a context of its own leaves room in that.
    #[must_use]
    pub fn room(&self, tokens: usize) -> Option<usize> {
        let phase = self.phase.borrow();
        let Phase::Ready(ready) = &*phase else {
            return None;
        };
        let fits = tokens < ready.capacity;
        let all = if fits { ready.capacity } else { ready.longest };
        Some(all.saturating_sub(tokens))
    }

    /// Tokens that spoken turns may spend on what was said before: a quarter of a question's, because they stay in the cache
    /// between turns, and no more than a third of what the kept preambles leave. 0: the model takes bare questions alone.
    /// `None` while there is no model.
    #[must_use]
    pub fn recalls(&self) -> Option<usize> {
        match &*self.phase.borrow() {
            Phase::Ready(ready) if ready.is_bare() => Some(0),
            Phase::Ready(ready) => {
                let left = ready.capacity.saturating_sub(self.keeping.counted());
                Some((ready.capacity / 4).min(left / 3))
            }
            _ => None,
        }
    }

    /// Tokens of the kept preambles, without what was said before.
    #[must_use]
    pub fn preambles(&self) -> usize {
        self.keeping.counted()
    }

    /// Tokens that these messages take in a prompt, with a little of what comes around them; `None` if there is no model, or its
    /// template refuses them.
    pub async fn tokens_of(&self, history: Vec<Message>) -> Option<usize> {
        let model = Arc::clone(&self.lease().await?.model);
        let preamble = Preamble {
            history,
            ..Preamble::default()
        };
        // Not through `work`, where speech would queue behind the texts of questions.
        let prefix = tokio::task::spawn_blocking(move || prompt::prefix(&model, &preamble));
        Some(prefix.await.ok()?.ok()?.len())
    }

    /// Takes a place for a request, before anything of it is parsed, decoded or kept.
    ///
    /// # Errors
    /// [`EngineError::Busy`] at once when all places are taken.
    pub fn admit(&self) -> Result<Place, EngineError> {
        Places::take(&self.places, Priority::Question)
    }

    /// Hands `request` over, with a place for it. Returns before the request is computed; while the model is
    /// loading it waits.
    ///
    /// # Errors
    /// Those of [`Engine::admit`] and [`Engine::submit_at`].
    pub async fn submit(&self, request: Request) -> Result<Answer, EngineError> {
        self.limits.check_request(&request)?;
        self.submit_at(self.admit()?, request).await
    }

    /// Hands over `request`, whose place was taken by [`Engine::admit`].
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`] at once; what is wrong with the request; or that there is no model.
    pub async fn submit_at(&self, place: Place, request: Request) -> Result<Answer, EngineError> {
        self.submit_as(Priority::Question, Arc::new(place), request)
            .await
    }

    /// Hands over `request`, which is part of answering `turn`: it needs no place of its own, and goes before questions.
    ///
    /// # Errors
    /// Those of [`Engine::submit_at`].
    pub async fn submit_for(&self, turn: &Turn, request: Request) -> Result<Answer, EngineError> {
        let place = Arc::clone(&turn.place);
        self.submit_as(Priority::Speech, place, request).await
    }

    async fn submit_as(
        &self,
        priority: Priority,
        place: Arc<Place>,
        request: Request,
    ) -> Result<Answer, EngineError> {
        let arrived = Instant::now();
        self.limits.check_request(&request)?;
        let ready = self.ready().await?;
        let has_sound = matches!(request.question, Question::Clip(..));
        // Only a typed question may have a context of its own.
        let capacity = match priority {
            Priority::Question if !has_sound => ready.longest.max(ready.capacity),
            _ => ready.capacity,
        };
        let id = self.requests.next();
        // Dropping this future drops the answer, which cancels the request.
        let (outlet, answer) = Answer::new(id);
        // Tokenising a long text or computing the mel spectrogram of a long clip takes up to 0.1 s.
        let leased = ready.clone();
        let prepare = move || {
            let grammar = leased.grammar(request.form.as_ref())?;
            let bounds = Bounds {
                is_wanted: &|| !outlet.is_closed(),
                capacity,
                ..Bounds::NONE
            };
            let (prompt, spans) = prepare(&leased.model, &request, bounds)?;
            let outlet = (id, outlet);
            let job = Requests::job(&request, grammar.as_ref(), prompt, priority, place, outlet)?;
            Ok::<_, EngineError>((Job { arrived, ..job }, spans))
        };
        let (job, spans) = match priority {
            Priority::Question => work::run(prepare).await??,
            // Not through `work`, where speech would queue behind the texts of questions.
            Priority::Speech => {
                let prepared = tokio::task::spawn_blocking(prepare).await;
                prepared.map_err(|_| work::Panicked)??
            }
        };
        let rows = job.prompt.len() + spans.as_ref().map_or(0, Spans::backlog);
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        let work = match spans {
            Some(spans) => Work::Recording(Box::new(Recording { spans, job })),
            None => Work::Job(Box::new(job)),
        };
        self.work.send(work).map_err(|_| EngineError::Stopping)?;
        drop(ready);
        Ok(answer)
    }

    /// Reads what a next question after `preamble` begins with, so that its rows are in the cache when `owner` asks it. Returns
    /// when that is done. Dropped before, what was read until then stays.
    ///
    /// # Errors
    /// When there is no model or no place, or the preamble is too long; then nothing is read.
    pub async fn read_ahead(&self, preamble: Preamble, owner: Arc<str>) -> Result<(), EngineError> {
        // Nobody waits for it, so it takes nobody's place.
        let place = Arc::new(Places::beside(&self.places));
        // A model that is not there is not loaded for that.
        let lease = self.lease().await.ok_or(EngineError::Stopping)?;
        let model = Arc::clone(&lease.model);
        let prefix = work::run(move || prompt::prefix(&model, &preamble)).await??;
        let (rows, capacity) = (prefix.len(), lease.capacity);
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        let request = Request {
            // It ends with the first token that is drawn.
            max_tokens: 1,
            owner: Some(owner),
            ..Request::question(&config::Answer::default(), String::new())
        };
        let id = self.requests.next();
        let (outlet, answer) = Answer::new(id);
        let outlet = (id, outlet);
        let job = Requests::job(&request, None, prefix, Priority::Question, place, outlet)?;
        let sent = self.work.send(Work::Job(Box::new(job)));
        sent.map_err(|_| EngineError::Stopping)?;
        drop(lease);
        answer.text().await.map(drop)
    }

    /// The prompt of `request` as the model would read it. Nothing is computed. `_place` was taken by
    /// [`Engine::admit`].
    ///
    /// # Errors
    /// Those of [`Engine::submit_at`].
    pub async fn render_at(
        &self,
        _place: Place,
        request: Request,
    ) -> Result<Vec<Passage>, EngineError> {
        self.limits.check_request(&request)?;
        let ready = self.ready().await?;
        work::run(move || {
            let model = &ready.model;
            let (after, spans) = prepare(model, &request, Bounds::NONE)?;
            let mut passages = Vec::new();
            if let Some(spans) = spans {
                let before = spans.first_tokens();
                passages = rendering::passages(model, &before);
                passages.push(Passage::sound(spans.backlog() - before.len()));
            }
            passages.extend(rendering::passages(model, &after));
            Ok(passages)
        })
        .await?
    }

    /// Compiles a form that answers must have, ahead of the first request with it; while the model is loading it waits.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when it cannot be followed, or that there is no model.
    pub async fn compile(&self, form: Form) -> Result<(), EngineError> {
        let ready = self.ready().await?;
        let compiled = work::run(move || ready.grammar(Some(&form)).map(drop));
        compiled.await?
    }

    /// Has the engine compile `form` for every model that it loads from now on, as soon as the model's vocabulary is known:
    /// before the model is ready. `None`: nothing. Of several calls the last counts.
    pub fn compile_ahead(&self, form: Option<&Form>) {
        self.ahead.put(form);
    }

    /// Leads a known answer through its form, as if the model wrote it. Nothing is computed by the model.
    ///
    /// # Errors
    /// Those of [`Engine::compile`], or that this is no answer of that form.
    pub async fn rehearse(&self, form: Form, answer: String) -> Result<Rehearsal, EngineError> {
        let ready = self.ready().await?;
        let rehearse =
            move || Rehearsal::of(&ready.model, &ready.grammars.compile(&form)?, &answer);
        work::run(rehearse).await?
    }

    /// Opens a spoken turn after this preamble; while the model is loading it waits.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`] for the system prompt; [`EngineError::Listening`] when two turns are under way
    /// already; that the model cannot hear; or that there is none.
    pub async fn listen(&self, preamble: impl Into<Preamble>) -> Result<Turn, EngineError> {
        let preamble = preamble.into();
        let system = preamble.system.as_ref();
        self.limits.check_system(system.map_or(0, String::len))?;
        let place = Arc::new(Places::take(&self.places, Priority::Speech)?);
        let ready = self.ready().await?;
        let request = Request {
            preamble: preamble.clone(),
            ..Request::reply(&config::Answer::default())
        };
        // Not through `work`, where speech would queue behind the texts of questions. There are places for two turns.
        let prepared = tokio::task::spawn_blocking({
            let model = Arc::clone(&ready.model);
            move || {
                let encoder = model.encoder()?;
                let before = prompt::around_sound(&model, &request, Bounds::NONE)?.before;
                let spans = Spans::new(encoder, before.clone(), prompt::between_spans(&model));
                Ok::<_, EngineError>((before, spans))
            }
        });
        let (before, spans) = prepared.await.map_err(|_| work::Panicked)??;
        let id = self.requests.next();
        let backlog = Arc::new(AtomicUsize::new(0));
        let opening = Opening {
            turn: id,
            spans,
            backlog: Arc::clone(&backlog),
            place: Arc::clone(&place),
        };
        self.work
            .send(Work::Listen(Box::new(opening)))
            .map_err(|_| EngineError::Stopping)?;
        Ok(Turn {
            id,
            preamble,
            before,
            ready,
            work: self.work.clone(),
            requests: self.requests.clone(),
            place,
            backlog,
        })
    }

    /// Makes `preamble` the one kept in the KV cache for requests of this kind, as soon as there is a model and cells
    /// for it; `None` keeps none. Of several calls the last counts. A preamble that cannot be kept is logged, and
    /// is then prefilled with every request.
    ///
    /// Needs a runtime: the work goes on in a task.
    pub fn keep(&self, kept: Kept, preamble: Option<&Preamble>) {
        let change = self.requests.next();
        let (engine, preamble) = (self.clone(), preamble.cloned());
        self.keeping.put(kept, (change, preamble.clone()));
        tokio::spawn(async move {
            // A model that is loaded later reads it then.
            let Some(lease) = engine.lease().await else {
                return;
            };
            let model = Arc::clone(&lease.model);
            let keeping = engine.keeping.clone();
            let prefix = work::run(move || {
                let Some(preamble) = preamble else {
                    keeping.count(kept, 0);
                    return Ok(Vec::new());
                };
                let prefix = prompt::prefix(&model, &preamble)?;
                let base = if preamble.history.is_empty() {
                    prefix.len()
                } else {
                    let history = Vec::new();
                    prompt::prefix(
                        &model,
                        &Preamble {
                            history,
                            ..preamble
                        },
                    )?
                    .len()
                };
                keeping.count(kept, base);
                Ok(prefix)
            });
            match prefix.await.map_err(EngineError::from).flatten() {
                Ok(tokens) => engine.send_keep(kept, change, tokens),
                Err(error) => log::warn!("a system prompt is not kept in the cache: {error}"),
            }
        });
    }

    fn send_keep(&self, kept: Kept, change: u64, tokens: Vec<Token>) {
        // A thread that is gone keeps nothing.
        let _ = self.work.send(Work::Keep {
            kept,
            change,
            tokens,
        });
    }

    /// Returns true once the engine thread has checked for new work: between two batches, at once when it is
    /// idle. Returns false when the thread is gone.
    pub async fn beat(&self) -> bool {
        let (beat, beaten) = oneshot::channel();
        self.work.send(Work::Beat(beat)).is_ok() && beaten.await.is_ok()
    }

    /// Ends the engine thread, in the middle of a batch if need be. Requests under way fail.
    pub async fn stop(mut self) {
        self.stop.say();
        if self.work.send(Work::Stop).is_ok() {
            // The phase's sender lives on the engine thread; its end is the thread's end.
            while self.phase.changed().await.is_ok() {}
        }
    }

    /// A lease of the model, which is loaded if it is not.
    async fn ready(&self) -> Result<Lease, EngineError> {
        let mut phase = self.phase.clone();
        loop {
            match settled(&mut phase).await? {
                Phase::Failed(why) => return Err(EngineError::ModelNotLoaded(why)),
                Phase::Ready(ready) => {
                    if let Some(lease) = Lease::of(ready, &self.work) {
                        return Ok(lease);
                    }
                }
                Phase::Unloaded => self.load(),
                Phase::Starting | Phase::Loading(_) | Phase::Unloading => {}
            }
            let changed = phase.changed().await;
            changed.map_err(|_| EngineError::Stopping)?;
        }
    }

    /// A lease of the model that is loaded or being loaded, if there is one.
    async fn lease(&self) -> Option<Lease> {
        let mut phase = self.phase.clone();
        match settled(&mut phase).await.ok()? {
            Phase::Ready(ready) => Lease::of(ready, &self.work),
            _ => None,
        }
    }
}

/// The next phase that lasts.
async fn settled(phase: &mut watch::Receiver<Phase>) -> Result<Phase, EngineError> {
    let passes = |it: &Phase| matches!(it, Phase::Starting | Phase::Loading(_) | Phase::Unloading);
    let settled = phase.wait_for(|it| !passes(it)).await;
    settled
        .map(|it| it.clone())
        .map_err(|_| EngineError::Stopping)
}

/// The tokens of a request. If it is about sound: the sound, and the tokens that follow it.
fn prepare(
    model: &Model,
    request: &Request,
    bounds: Bounds<'_>,
) -> Result<(Vec<Token>, Option<Spans>), EngineError> {
    let Question::Clip(clip, _) = &request.question else {
        return Ok((prompt::typed(model, request, bounds)?, None));
    };
    let encoder = model.encoder()?;
    let around = prompt::around_sound(model, request, bounds)?;
    let mut spans = Spans::new(encoder, around.before, prompt::between_spans(model));
    spans.record(clip);
    Ok((around.after, Some(spans)))
}

impl Follow for Engine {
    fn follow(&self, before: &Config, after: &Config) {
        let system = &after.answer.system;
        if *system != before.answer.system {
            self.keep(Kept::Answers, Some(&system.as_str().into()));
        }
        if after.model != before.model || self.has_new_files() {
            self.replace(&after.model);
        }
    }
}
