//! The engine: everything llama.cpp, on one OS thread behind an async door.
//!
//! [`Engine::start`] starts the thread and [`Engine::load`] has it load the model;
//! [`Engine::submit`] renders and tokenises a [`Request`] where it arrives and hands the rows over;
//! the [`Answer`] it returns yields the text as it is generated. Dropping the answer cancels the request, whoever dropped it and why: between
//! two batches the engine notices, and the place and the KV cells are free again.
//!
//! | file | owns |
//! |---|---|
//! | `request` | what is asked, and what comes back |
//! | `places` | how many may wait |
//! | `model`, `gguf` | the loaded files |
//! | `template`, `prompt` | messages → rows |
//! | `audio` | samples → soft tokens |
//! | `context` | the KV cache and its batches |
//! | `kv_only` | prefill that stops where the prompt is in the cache |
//! | `scheduler`, `sequence` | who computes next |
//! | `sampler`, `text` | logits → tokens → text |
//! | `backend` | the llama.cpp library itself |

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the scheduler does not feed streams yet")
)]
mod audio;
mod backend;
mod context;
mod error;
mod gguf;
mod kv_only;
mod model;
mod places;
mod prompt;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod template;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use gemmad_api::Health;
use tokio::sync::{mpsc as channel, watch};

pub use audio::{Clip, LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_MS};
pub use error::{EngineError, LoadError};
pub use request::{Answer, Event, Priority, Request, Sampling};
pub use text::Piece;

use crate::config::{self, Config};
use model::Model;
use places::Places;
use prompt::Prompt;
use scheduler::{Scheduler, Work};
use sequence::Job;

/// What the engine is doing.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Nothing is loaded yet.
    Starting,
    /// The model is being loaded.
    Loading,
    /// Requests are answered.
    Ready(Ready),
    /// Loading failed, for this reason; every request fails with it.
    Failed(String),
}

/// A loaded model, ready for requests.
#[derive(Debug, Clone)]
pub struct Ready {
    model: Arc<Model>,
    /// Most rows of prompt and answer a request may have.
    capacity: Capacity,
}

/// Cells a request may have, by what it is for.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    speech: usize,
    question: usize,
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
        self.model.projector().is_some()
    }
}

/// The door to the engine. Clones lead to the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    phase: watch::Receiver<Phase>,
    health: watch::Receiver<Health>,
    work: mpsc::Sender<Work>,
    places: Arc<Places>,
    requests: Arc<AtomicU64>,
}

impl Engine {
    /// Starts the engine thread. It waits for [`Engine::load`].
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        let (phase, phase_seen) = watch::channel(Phase::Starting);
        let (health, health_seen) = watch::channel(Health::default());
        let (work, work_received) = mpsc::channel();
        let places = Arc::new(Places::new(&config.engine));
        let config = config.clone();
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || run(&config, &phase, health, &work_received))?;
        Ok(Self {
            phase: phase_seen,
            health: health_seen,
            work,
            places,
            requests: Arc::default(),
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
        let health = self.health.borrow().clone();
        let queued = self.places.taken().saturating_sub(health.active);
        Health { queued, ..health }
    }

    /// Hands `request` over. Returns when it has its place, before it is computed; while the model
    /// is loading it waits.
    ///
    /// # Errors
    /// [`EngineError::Busy`] at once when too many wait; what is wrong with the request; or that
    /// there is no model.
    pub async fn submit(&self, request: Request) -> Result<Answer, EngineError> {
        let arrived = Instant::now();
        let place = Places::take(&self.places, request.priority)?;
        let id = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let Ready { model, capacity } = self.ready().await?;
        let capacity = match request.priority {
            Priority::Speech => capacity.speech,
            Priority::Question => capacity.question,
        };
        // Tokenising a long text and the mel spectrogram of a long clip take up to 0.1 s.
        let prepared = tokio::task::spawn_blocking(move || {
            let prompt = Prompt::new(&model, &request)?;
            Ok((request, prompt))
        });
        let (request, prompt) = prepared.await.map_err(|_| EngineError::Stopping)??;
        let rows = prompt.rows();
        if rows >= capacity {
            return Err(EngineError::PromptTooLong { rows, capacity });
        }
        let (sender, events) = channel::unbounded_channel();
        let job = Job {
            id,
            prompt,
            max_tokens: (request.max_tokens as usize).min(capacity - rows),
            min_tokens: request.min_tokens,
            sampling: request.sampling,
            priority: request.priority,
            heard: request.heard,
            arrived,
            events: sender,
            place,
        };
        self.work
            .send(Work::Job(Box::new(job)))
            .map_err(|_| EngineError::Stopping)?;
        Ok(Answer { id, events })
    }

    /// Ends the engine thread after the batch it is computing. Requests under way fail.
    pub async fn stop(mut self) {
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
            Phase::Starting | Phase::Loading => Err(EngineError::Stopping),
        }
    }
}

/// The engine thread.
fn run(
    config: &Config,
    phase: &watch::Sender<Phase>,
    health: watch::Sender<Health>,
    work: &mpsc::Receiver<Work>,
) {
    // Requests come only once a model is loaded, so the first word is `Load`, or the end.
    if !matches!(work.recv(), Ok(Work::Load)) {
        return;
    }
    phase.send_replace(Phase::Loading);
    let started = Instant::now();
    match load(config, health) {
        Ok((scheduler, ready)) => {
            let milliseconds = started.elapsed().as_millis();
            log::info!(
                model = ready.name(), hears = ready.hears(), ms = milliseconds;
                "model loaded"
            );
            phase.send_replace(Phase::Ready(ready));
            scheduler.run(work);
        }
        Err(error) => {
            log::error!("{error}");
            phase.send_replace(Phase::Failed(error.to_string()));
            // Nobody is served, but the door stays: requests are refused with the reason.
            while !matches!(work.recv(), Ok(Work::Stop) | Err(_)) {}
        }
    }
}

fn load(config: &Config, health: watch::Sender<Health>) -> Result<(Scheduler, Ready), LoadError> {
    let threads = threads(&config.engine);
    let model = Arc::new(Model::load(&config.model, threads)?);
    let prefix = Prompt::prefix(&model, &config.answer.system)?;
    let scheduler = Scheduler::new(&model, prefix, &config.engine, threads, health)?;
    let capacity = scheduler.capacity();
    Ok((scheduler, Ready { model, capacity }))
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
