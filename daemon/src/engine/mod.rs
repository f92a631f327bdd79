//! The engine: everything llama.cpp, on one OS thread behind an async door.
//!
//! [`Engine::start`] starts the thread and [`Engine::load`] has it load the model;
//! [`Engine::submit`] renders and tokenises a [`Request`] where it arrives and hands the rows over;
//! the [`Answer`] it returns yields the text as it is generated. Dropping the answer cancels the request,
//! whoever dropped it and why: between two batches the engine notices, and the place and the KV cells
//! are free again.
//!
//! Who speaks is not waited for: [`Engine::listen`] opens a [`Turn`], and what is pushed into it is in
//! the KV cache before they stop.
//!
//! | file | owns |
//! |---|---|
//! | `request` | what is asked, and what comes back |
//! | `turn` | a turn that is being spoken |
//! | `places` | how many may wait |
//! | `grammar` | holding an answer to a form |
//! | `model`, `gguf` | the loaded files |
//! | `template`, `prompt` | messages → tokens |
//! | `audio` | samples → soft tokens |
//! | `context`, `mixed`, `cells` | the KV cache, its batches, and who holds it |
//! | `kv_only` | prefill that stops where the prompt is in the cache |
//! | `scheduler` | who computes next |
//! | `hearing`, `sequence` | sound, and requests, on their way through the model |
//! | `sampler`, `text` | logits → tokens → text |
//! | `threads`, `cpu`, `backend` | what computes, and the llama.cpp library itself |

mod audio;
mod backend;
mod cells;
mod context;
mod cpu;
mod error;
mod gguf;
mod grammar;
mod hearing;
mod kv_only;
mod mixed;
mod model;
mod places;
mod prompt;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod template;
mod text;
mod threads;
mod turn;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Instant;

use gemmad_api::Health;
use tokio::sync::{mpsc as channel, oneshot, watch};

pub use audio::{Clip, LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS};
pub use error::{EngineError, LoadError};
pub use grammar::{Form, Grammar};
pub use request::{Answer, Event, Preamble, Priority, Request, Sampling, ToolCall};
pub use scheduler::Kept;
pub use text::Piece;
pub use turn::Turn;

use crate::config::{self, Config};
use crate::platform::work;
use audio::{Encoder, Spans};
use cpu::Cpu;
use grammar::{Grammars, Guide};
use hearing::{Opening, Recording};
use model::{Model, Token};
pub use places::Place;
use places::Places;
use scheduler::{Carried, Scheduler, Work};
use sequence::Job;
use threads::Threads;

/// What the engine is doing.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Nothing is loaded yet.
    Starting,
    /// The model is being loaded; so much of it, in percent, is there.
    Loading(u8),
    /// Requests are answered.
    Ready(Ready),
    /// Loading failed, for this reason; every request fails with it.
    Failed(String),
}

/// A loaded model, ready for requests.
#[derive(Debug, Clone)]
pub struct Ready {
    model: Arc<Model>,
    /// Made when the first grammar is wanted: with Gemma's vocabulary it takes a while, and memory.
    grammars: Arc<OnceLock<Result<Grammars, EngineError>>>,
    /// Most rows of prompt and answer a question may have.
    capacity: usize,
}

impl Ready {
    /// The model's name as its file gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Whether the model understands sound.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.model.encoder().is_some()
    }
}

/// The door to the engine. Clones lead to the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    phase: watch::Receiver<Phase>,
    carried: watch::Receiver<Carried>,
    work: mpsc::Sender<Work>,
    places: Arc<Places>,
    requests: Requests,
    /// Loading ends early.
    stopping: Arc<AtomicBool>,
}

/// Numbers requests and turns.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<AtomicU64>);

impl Requests {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the engine thread gets of `request`, and what whoever asked gets.
    ///
    /// # Errors
    /// When the request's grammar cannot be followed.
    fn job(
        &self,
        request: &Request,
        mut prompt: Vec<Token>,
        priority: Priority,
        place: Arc<Place>,
    ) -> Result<(Job, Answer), EngineError> {
        let (sender, events) = channel::unbounded_channel();
        let id = self.next();
        let mut guide = request.grammar.as_ref().map(Grammar::guide);
        let begun = guide.as_mut().map_or(Ok(Vec::new()), Guide::forced)?;
        prompt.extend(&begun);
        let job = Job {
            id,
            prompt,
            begun,
            guide,
            max_tokens: request.max_tokens as usize,
            min_tokens: request.min_tokens,
            sampling: request.sampling.clone(),
            priority,
            heard: request.heard,
            arrived: Instant::now(),
            events: sender,
            place,
        };
        Ok((job, Answer::new(id, events)))
    }
}

impl Engine {
    /// Starts the engine thread. It waits for [`Engine::load`].
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        let (phase, phase_seen) = watch::channel(Phase::Starting);
        let (carried, carried_seen) = watch::channel(Carried::default());
        let (work, work_received) = mpsc::channel();
        let places = Arc::new(Places::new(&config.engine));
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            config: config.clone(),
            phase,
            carried,
            stopping: Arc::clone(&stopping),
        };
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || thread.run(&work_received))?;
        Ok(Self {
            phase: phase_seen,
            carried: carried_seen,
            work,
            places,
            requests: Requests::default(),
            stopping,
        })
    }

    /// Has the engine thread load the model its configuration names.
    pub fn load(&self) {
        // A thread that is gone has said so in its phase.
        let _ = self.work.send(Work::Load);
    }

    /// What the engine is doing, now and whenever it changes.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// What the engine is carrying.
    #[must_use]
    pub fn health(&self) -> Health {
        let Carried { health, questions } = self.carried.borrow().clone();
        let queued = self.places.questions().saturating_sub(questions);
        Health { queued, ..health }
    }

    /// Takes a place for a request: the first thing, before anything of it is parsed, decoded or kept.
    ///
    /// # Errors
    /// [`EngineError::Busy`] at once when too many wait.
    pub fn admit(&self) -> Result<Place, EngineError> {
        Places::take(&self.places, Priority::Question)
    }

    /// Hands `request` over. Returns when it has its place, before it is computed; while the model is loading
    /// it waits.
    ///
    /// # Errors
    /// Those of [`Engine::admit`] and [`Engine::submit_at`].
    pub async fn submit(&self, request: Request) -> Result<Answer, EngineError> {
        self.submit_at(self.admit()?, request).await
    }

    /// Hands over `request`, which took this place before anything was done for it.
    ///
    /// # Errors
    /// What is wrong with the request; or that there is no model.
    pub async fn submit_at(&self, place: Place, request: Request) -> Result<Answer, EngineError> {
        let arrived = Instant::now();
        let place = Arc::new(place);
        let Ready {
            model, capacity, ..
        } = self.ready().await?;
        let requests = self.requests.clone();
        // Tokenising a long text and the mel spectrogram of a long clip take up to 0.1 s.
        let prepared = work::run(move || {
            let (prompt, spans) = prepare(&model, &request)?;
            let (job, answer) = requests.job(&request, prompt, Priority::Question, place)?;
            Ok((Job { arrived, ..job }, spans, answer))
        });
        let (job, spans, answer) = prepared.await.map_err(|_| EngineError::Stopping)??;
        let rows = job.prompt.len() + spans.as_ref().map_or(0, Spans::backlog);
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        let work = match spans {
            Some(spans) => Work::Recording(Box::new(Recording { spans, job })),
            None => Work::Job(Box::new(job)),
        };
        self.work.send(work).map_err(|_| EngineError::Stopping)?;
        Ok(answer)
    }

    /// Compiles what answers must look like; while the model is loading it waits. What was compiled can be
    /// used again and again.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] when it cannot be followed, or that there is no model.
    pub async fn grammar(&self, form: Form) -> Result<Grammar, EngineError> {
        let Ready {
            model, grammars, ..
        } = self.ready().await?;
        let compiled = work::run(move || {
            let grammars = grammars.get_or_init(|| Grammars::new(&model));
            grammars.as_ref().map_err(Clone::clone)?.compile(&form)
        });
        // The compiler gives up on some schemas by a panic.
        let complex = |_| EngineError::Grammar("it is too complex; simplify it".into());
        compiled.await.map_err(complex)?
    }

    /// Opens a turn that somebody begins to speak, after this preamble; while the model is loading
    /// it waits.
    ///
    /// # Errors
    /// [`EngineError::Listening`] when two turns are under way already; that the model cannot hear; or that
    /// there is none.
    pub async fn listen(&self, preamble: impl Into<Preamble>) -> Result<Turn, EngineError> {
        let place = Arc::new(Places::take(&self.places, Priority::Speech)?);
        let Ready { model, .. } = self.ready().await?;
        let encoder = encoder(&model)?;
        let request = Request {
            preamble: preamble.into(),
            ..Request::reply(&config::Answer::default())
        };
        let before = prompt::around_sound(&model, &request)?.before;
        let spans = Spans::new(encoder, before.clone(), prompt::between_spans(&model));
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
            preamble: request.preamble,
            before,
            model,
            work: self.work.clone(),
            requests: self.requests.clone(),
            place,
            backlog,
        })
    }

    /// Makes this the preamble that is kept in the KV cache for such requests, as soon as nobody is being
    /// answered; `None`: none. One that cannot be kept is logged; it then is prefilled with every request.
    pub fn keep(&self, kept: Kept, preamble: Option<&Preamble>) {
        let Phase::Ready(Ready { model, .. }) = &*self.phase.borrow() else {
            return;
        };
        let prefix = preamble.map_or(Ok(Vec::new()), |it| prompt::prefix(model, it));
        match prefix {
            // A thread that is gone keeps nothing.
            Ok(prefix) => drop(self.work.send(Work::Keep(kept, prefix))),
            Err(error) => log::warn!("a system prompt is not kept in the cache: {error}"),
        }
    }

    /// Returns once the engine thread has looked up from its work: between two batches, at once when it
    /// is idle. False when it is gone.
    pub async fn beat(&self) -> bool {
        let (beat, beaten) = oneshot::channel();
        self.work.send(Work::Beat(beat)).is_ok() && beaten.await.is_ok()
    }

    /// Ends the engine thread after the batch it is computing. Requests under way fail.
    pub async fn stop(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.work.send(Work::Stop).is_ok() {
            // The phase's sender lives on the engine thread; its end is the thread's end.
            while self.phase.changed().await.is_ok() {}
        }
    }

    async fn ready(&self) -> Result<Ready, EngineError> {
        let mut phase = self.phase.clone();
        let settled = phase
            .wait_for(|phase| matches!(phase, Phase::Ready(_) | Phase::Failed(_)))
            .await
            .map_err(|_| EngineError::Stopping)?;
        match &*settled {
            Phase::Ready(ready) => Ok(ready.clone()),
            Phase::Failed(why) => Err(EngineError::ModelNotLoaded(why.clone())),
            Phase::Starting | Phase::Loading(_) => Err(EngineError::Stopping),
        }
    }
}

/// The tokens of a request and, if it is about sound, that sound; the tokens follow it then.
fn prepare(model: &Model, request: &Request) -> Result<(Vec<Token>, Option<Spans>), EngineError> {
    let Some(clip) = &request.clip else {
        return Ok((prompt::typed(model, request)?, None));
    };
    let encoder = encoder(model)?;
    let around = prompt::around_sound(model, request)?;
    let mut spans = Spans::new(encoder, around.before, prompt::between_spans(model));
    spans.record(clip);
    Ok((around.after, Some(spans)))
}

fn encoder(model: &Model) -> Result<&Arc<Encoder>, EngineError> {
    let encoder = model.encoder();
    encoder.ok_or_else(|| EngineError::Deaf("[model] mmproj names no projector".into()))
}

/// The engine thread, before and around its scheduler.
struct Thread {
    config: Config,
    phase: watch::Sender<Phase>,
    carried: watch::Sender<Carried>,
    stopping: Arc<AtomicBool>,
}

impl Thread {
    fn run(self, work: &mpsc::Receiver<Work>) {
        // Requests come only once a model is loaded, so the first word is `Load`, or the end.
        if !matches!(work.recv(), Ok(Work::Load)) {
            return;
        }
        let started = Instant::now();
        match self.load() {
            Ok((scheduler, ready)) => {
                log::info!(
                    event = "model-loaded", model = ready.name(), hears = ready.hears(),
                    ms = started.elapsed().as_millis(), cpu = Cpu::get().map(Cpu::features).unwrap_or_default();
                    "model loaded"
                );
                self.phase.send_replace(Phase::Ready(ready));
                scheduler.run(work);
            }
            Err(_) if self.stopping.load(Ordering::Relaxed) => {}
            Err(error) => {
                log::error!(event = "degraded"; "{error}");
                self.phase.send_replace(Phase::Failed(error.to_string()));
                refuse(work);
            }
        }
    }

    fn load(&self) -> Result<(Scheduler, Ready), LoadError> {
        let config = &self.config;
        let threads =
            Threads::start(threads(&config.engine)).map_err(|why| EngineError::Llama {
                doing: "starting threads",
                why,
            })?;
        let model = Model::load(&config.model, &threads, &mut |share| self.loading(share))?;
        let model = Arc::new(model);
        let prefix = prompt::prefix(&model, &config.answer.system.as_str().into())?;
        let carried = self.carried.clone();
        let scheduler = Scheduler::new(&model, &threads, prefix, &config.engine, carried)?;
        let capacity = scheduler.capacity();
        let ready = Ready {
            model,
            grammars: Arc::default(),
            capacity,
        };
        Ok((scheduler, ready))
    }

    /// Tells how much of the model is loaded, when that changed by a percent; whether to go on.
    fn loading(&self, share: f32) -> bool {
        // A share is 0 to 1.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let percent = (share * 100.0) as u8;
        self.phase.send_if_modified(|phase| {
            let changed = !matches!(phase, Phase::Loading(before) if *before == percent);
            *phase = Phase::Loading(percent);
            changed
        });
        !self.stopping.load(Ordering::Relaxed)
    }
}

/// Nobody is served, but the door stays: requests are refused with the reason.
fn refuse(work: &mpsc::Receiver<Work>) {
    loop {
        match work.recv() {
            Ok(Work::Beat(beat)) => drop(beat.send(())),
            Ok(Work::Stop) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Threads to compute with. More than four cores of one memory bus help little with decoding, which
/// is bound by memory, and leave nothing for sound.
fn threads(config: &config::Engine) -> i32 {
    const MOST: usize = 4;
    match config.threads.get() {
        0 => std::thread::available_parallelism()
            .map_or(1, |cores| i32::try_from(cores.get().min(MOST)).unwrap_or(1)),
        threads => i32::try_from(threads).unwrap_or(1),
    }
}
