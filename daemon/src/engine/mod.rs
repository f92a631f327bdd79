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
//! | `request`, `answer` | what is asked, and what comes back |
//! | `turn` | a turn that is being spoken |
//! | `limits`, `places` | how much may be asked, and by how many |
//! | `grammar` | holding an answer to a form |
//! | `model`, `gguf` | the loaded files |
//! | `template`, `prompt`, `stretches` | messages → tokens |
//! | `audio` | samples → soft tokens |
//! | `context`, `mixed`, `cells` | the KV cache, its batches, and who holds it |
//! | `kv_only` | prefill that stops where the prompt is in the cache |
//! | `scheduler` | who computes next |
//! | `hearing`, `sequence` | sound, and requests, on their way through the model |
//! | `sampler`, `text` | logits → tokens → text |
//! | `host` | the thread: loading, serving, and how it ended |
//! | `threads`, `stop`, `cpu`, `backend` | what computes and for how long, and the llama.cpp library itself |

mod answer;
mod audio;
mod backend;
mod cells;
mod context;
mod cpu;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gguf;
mod grammar;
mod hearing;
mod host;
mod kv_only;
mod limits;
mod mixed;
mod model;
mod places;
mod prompt;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod stop;
mod stretches;
mod template;
mod text;
mod threads;
mod turn;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Instant;

use gemmad_api::Health;
use tokio::sync::{oneshot, watch};

pub use answer::{Answer, Event};
pub use audio::{Clip, LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS};
pub use error::{EngineError, LoadError};
pub use grammar::{Form, Grammar, SchemaError};
pub use limits::{LONGEST_SCHEMA, Limits};
pub use places::Place;
pub use request::{Preamble, Priority, Request, Sampling, ToolCall};
pub use scheduler::Kept;
pub use text::Piece;
pub use turn::Turn;

use crate::config::{self, Config};
use crate::platform::work;
use answer::Outlet;
use audio::{Encoder, Spans};
use grammar::{Grammars, Guide};
use hearing::{Opening, Recording};
use host::Host;
use model::{Model, Token};
use places::Places;
use prompt::Wanted;
use scheduler::{Carried, Work};
use sequence::Job;
use stop::Stop;

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
    limits: Limits,
    requests: Requests,
    crashed: watch::Receiver<bool>,
    stop: Stop,
}

/// Numbers requests and turns.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<AtomicU64>);

impl Requests {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the engine thread gets of `request`, of which `prompt` was made.
    ///
    /// # Errors
    /// When the request's grammar cannot be followed.
    fn job(
        request: &Request,
        mut prompt: Vec<Token>,
        priority: Priority,
        place: Arc<Place>,
        (id, outlet): (u64, Outlet),
    ) -> Result<Job, EngineError> {
        let mut guide = request.grammar.as_ref().map(Grammar::guide);
        let begun = guide.as_mut().map_or(Ok(Vec::new()), Guide::forced)?;
        prompt.extend(&begun);
        Ok(Job {
            id,
            prompt,
            begun,
            guide,
            max_tokens: request.max_tokens as usize,
            min_tokens: request.min_tokens,
            sampling: request.sampling.clone(),
            priority,
            heard: request.heard,
            is_cut_short: request.clip.as_ref().is_some_and(|it| it.is_cut_short()),
            arrived: Instant::now(),
            place,
            outlet,
        })
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
        let (crashed, crashed_seen) = watch::channel(false);
        let stop = Stop::default();
        let host = Host {
            config: config.clone(),
            phase,
            carried,
            crashed,
            stop: stop.clone(),
        };
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || host.run(&work_received))?;
        Ok(Self {
            phase: phase_seen,
            carried: carried_seen,
            work,
            places: Arc::new(Places::new(&config.engine)),
            limits: Limits::new(&config.engine),
            requests: Requests::default(),
            crashed: crashed_seen,
            stop,
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

    /// How much may be asked at once.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns when the engine thread has failed while it was serving. It serves no more then, and only a restart of
    /// the daemon helps; those who waited have been told.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.clone();
        if crashed.wait_for(|crashed| *crashed).await.is_err() {
            // It has ended as it was told to.
            std::future::pending::<()>().await;
        }
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
        self.limits.check_request(&request)?;
        self.submit_at(self.admit()?, request).await
    }

    /// Hands over `request`, which took this place before anything was done for it.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`] at once; what is wrong with the request; or that there is no model.
    pub async fn submit_at(&self, place: Place, request: Request) -> Result<Answer, EngineError> {
        let arrived = Instant::now();
        self.limits.check_request(&request)?;
        let place = Arc::new(place);
        let Ready {
            model, capacity, ..
        } = self.ready().await?;
        let id = self.requests.next();
        // Who gives up waiting here drops the answer.
        let (outlet, answer) = Answer::new(id);
        // Tokenising a long text and the mel spectrogram of a long clip take up to 0.1 s.
        let prepared = work::run(move || {
            let (prompt, spans) = prepare(&model, &request, &|| !outlet.is_closed())?;
            let job = Requests::job(&request, prompt, Priority::Question, place, (id, outlet))?;
            Ok::<_, EngineError>((Job { arrived, ..job }, spans))
        });
        let (job, spans) = prepared.await??;
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
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when it cannot be followed, or that there is no model.
    pub async fn grammar(&self, form: Form) -> Result<Grammar, EngineError> {
        let Ready {
            model, grammars, ..
        } = self.ready().await?;
        let compiled = work::run(move || {
            let grammars = grammars.get_or_init(|| Grammars::new(&model));
            grammars.as_ref().map_err(Clone::clone)?.compile(&form)
        });
        compiled.await?
    }

    /// Opens a turn that somebody begins to speak, after this preamble; while the model is loading
    /// it waits.
    ///
    /// # Errors
    /// [`EngineError::Listening`] when two turns are under way already; that the model cannot hear; or that
    /// there is none.
    pub async fn listen(&self, preamble: impl Into<Preamble>) -> Result<Turn, EngineError> {
        let preamble = preamble.into();
        self.limits.check_system(preamble.system.len())?;
        let place = Arc::new(Places::take(&self.places, Priority::Speech)?);
        let Ready { model, .. } = self.ready().await?;
        let request = Request {
            preamble: preamble.clone(),
            ..Request::reply(&config::Answer::default())
        };
        // Speech does not queue behind the texts of questions in `work`. There are places for two turns.
        let prepared = tokio::task::spawn_blocking({
            let model = Arc::clone(&model);
            move || {
                let encoder = encoder(&model)?;
                let before = prompt::around_sound(&model, &request, &|| true)?.before;
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
            model,
            work: self.work.clone(),
            requests: self.requests.clone(),
            place,
            backlog,
        })
    }

    /// Makes this the preamble that is kept in the KV cache for such requests, as soon as there is a model and cells
    /// for it; `None`: none. Of several calls the last counts. One that cannot be kept is logged; it then is
    /// prefilled with every request.
    ///
    /// Needs a runtime: it goes on in a task.
    pub fn keep(&self, kept: Kept, preamble: Option<&Preamble>) {
        let change = self.requests.next();
        let (engine, preamble) = (self.clone(), preamble.cloned());
        tokio::spawn(async move {
            // Without a model nothing is kept.
            let Ok(Ready { model, .. }) = engine.ready().await else {
                return;
            };
            let prefix = work::run(move || {
                preamble.map_or(Ok(Vec::new()), |it| prompt::prefix(&model, &it))
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

    /// Returns once the engine thread has looked up from its work: between two batches, at once when it
    /// is idle. False when it is gone.
    pub async fn beat(&self) -> bool {
        let (beat, beaten) = oneshot::channel();
        self.work.send(Work::Beat(beat)).is_ok() && beaten.await.is_ok()
    }

    /// Ends the engine thread, in the middle of what it is computing. Requests under way fail.
    pub async fn stop(mut self) {
        self.stop.say();
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
fn prepare(
    model: &Model,
    request: &Request,
    is_wanted: Wanted<'_>,
) -> Result<(Vec<Token>, Option<Spans>), EngineError> {
    let Some(clip) = &request.clip else {
        return Ok((prompt::typed(model, request, is_wanted)?, None));
    };
    let encoder = encoder(model)?;
    let around = prompt::around_sound(model, request, is_wanted)?;
    let mut spans = Spans::new(encoder, around.before, prompt::between_spans(model));
    spans.record(clip);
    Ok((around.after, Some(spans)))
}

fn encoder(model: &Model) -> Result<&Arc<Encoder>, EngineError> {
    let encoder = model.encoder();
    encoder.ok_or_else(|| EngineError::Deaf("[model] mmproj names no projector".into()))
}
