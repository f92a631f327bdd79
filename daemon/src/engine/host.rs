//! The engine thread: it loads the model, serves, and reports how that ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::keeping::{Keeping, Wanted};
use super::memory::Fit;
use super::probe::Probe;
use super::probe::files::Files;
use super::scarcity::Scarcity;
use super::stop::Stop;
use super::{EngineError, LoadError, Phase, Ready, heap, memory, prompt};
use crate::config::{self, Config};
use crate::engine::ggml::cpu::Cpu;
use crate::engine::ggml::threads::Threads;
use crate::engine::grammar::{Ahead, Grammars};
use crate::engine::llama::model::{Model, Token};
use crate::engine::llama::placing::Text;
use crate::engine::schedule::scheduler::{Carried, Fate, Kept, Scheduler, Work};

/// How often the files of a model that could not be loaded are looked at.
const GLANCE: Duration = Duration::from_secs(2);

/// The state of the thread beside the model.
pub(super) struct Host {
    pub config: Config,
    /// The model that is to be loaded next.
    pub wanted: Wanted,
    /// What every model keeps in its cache.
    pub keeping: Keeping,
    /// Runs the model's files before they are loaded.
    pub probe: Option<Probe>,
    pub phase: watch::Sender<Phase>,
    /// Compiled for every model.
    pub ahead: Ahead,
    pub carried: watch::Sender<Carried>,
    /// Why memory is scarce, if it is.
    pub scarcity: watch::Receiver<Option<Scarcity>>,
    /// Set when the thread has panicked while serving.
    pub crashed: watch::Sender<bool>,
    pub stop: Stop,
}

/// A loaded model.
struct Loaded {
    model: Arc<Model>,
    grammars: Arc<Grammars>,
    threads: Arc<Threads>,
    /// How it was made to fit into memory.
    fit: Fit,
    /// Its files, as they were before.
    files: Files,
}

impl Loaded {
    /// The model as requests see it, with the cells of `scheduler`.
    fn ready(&self, scheduler: &Scheduler) -> Ready {
        Ready {
            model: Arc::clone(&self.model),
            grammars: Arc::clone(&self.grammars),
            capacity: scheduler.capacity(),
            longest: self.fit.beside().longest as usize,
            files: self.files.clone(),
            bytes: self.fit.bytes(scheduler.cells()),
            stay: scheduler.stay(),
        }
    }
}

impl Host {
    /// Does what is decided about the model, to the end. A panic on the way is caught; waiting requests and later ones then fail with the reason.
    pub(super) fn run(mut self, work: &mpsc::Receiver<Work>) {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(work)));
        if served.is_ok() {
            return;
        }
        let was_ready = matches!(*self.phase.borrow(), Phase::Ready(_));
        let doing = if was_ready {
            "answering"
        } else {
            "loading the model"
        };
        log::error!(event = "engine-crashed"; "gemmad crashed while {doing}");
        let why = format!("gemmad crashed while {doing}");
        self.phase.send_replace(Phase::Failed(why));
        self.carried.send_replace(Carried::default());
        self.crashed.send_replace(was_ready);
        while let Refused::Told(_) = refuse(work, &EngineError::Crashed, None) {}
    }

    fn serve(&mut self, work: &mpsc::Receiver<Work>) {
        // Requests come only once a model is loaded, so the first message is a fate or the end.
        let Ok(Work::Fate(mut fate)) = work.recv() else {
            return;
        };
        loop {
            let next = match fate {
                Fate::Unload => self.wait(work),
                // Of a model that is not loaded nothing is resized.
                Fate::Load | Fate::Reload | Fate::Resize(_) => {
                    self.config.model = self.wanted.get();
                    self.load_and_serve(work)
                }
            };
            match next {
                Some(next) => fate = next,
                None => return,
            }
        }
    }

    /// Loads the model and serves. Returns the next fate, or `None` at the end.
    fn load_and_serve(&self, work: &mpsc::Receiver<Work>) -> Option<Fate> {
        let files = Files::of(&self.config.model);
        let started = Instant::now();
        match self.load(&files) {
            Ok((loaded, scheduler)) => {
                let model = &loaded.model;
                log::info!(
                    event = "model-loaded", model = model.name(), hears = model.encoder().is_ok(),
                    ms = started.elapsed().as_millis(), cpu = Cpu::get().map(Cpu::features).unwrap_or_default();
                    "model loaded"
                );
                let fate = self.serve_with(&loaded, scheduler, work);
                self.leave();
                fate
            }
            Err(_) if self.stop.is_said() => {
                self.leave();
                None
            }
            Err(error) => {
                self.leave();
                log::error!(event = "degraded"; "{error}");
                self.carried.send_replace(Carried::default());
                self.phase.send_replace(Phase::Failed(error.to_string()));
                self.refuse_until_changed(work, &files, &error)
            }
        }
    }

    /// Serves with a loaded model until it has to go, with as many cells as there is memory for.
    fn serve_with(
        &self,
        loaded: &Loaded,
        mut scheduler: Scheduler,
        work: &mpsc::Receiver<Work>,
    ) -> Option<Fate> {
        loop {
            self.phase
                .send_replace(Phase::Ready(loaded.ready(&scheduler)));
            let cells = match scheduler.run(work, &|fate| self.announce(fate)) {
                Some(Fate::Resize(cells)) => cells,
                fate => return fate,
            };
            heap::trim();
            scheduler = match self.scheduler(loaded, cells) {
                Ok(scheduler) => {
                    log::info!("the context has {cells} tokens from now on");
                    scheduler
                }
                Err(error) => {
                    log::warn!("the context cannot be resized: {error}; the model is loaded again");
                    return Some(Fate::Load);
                }
            };
        }
    }

    /// Makes known that the model goes, so that requests wait for the next.
    fn announce(&self, fate: Fate) {
        self.phase.send_replace(match fate {
            Fate::Load | Fate::Reload | Fate::Resize(_) => Phase::Loading(0),
            Fate::Unload => Phase::Unloading,
        });
    }

    /// Waits without a model. Returns the next fate, or `None` at the end.
    fn wait(&self, work: &mpsc::Receiver<Work>) -> Option<Fate> {
        log::info!(event = "model-unloaded"; "the model's memory was given back; the next request loads it again");
        self.carried.send_replace(Carried::default());
        heap::trim();
        self.phase.send_replace(Phase::Unloaded);
        loop {
            // No request comes without a lease.
            match refuse(work, &EngineError::Stopping, None) {
                Refused::Told(Fate::Unload) | Refused::ForAWhile => {}
                Refused::Told(fate) => return Some(fate),
                Refused::ToTheEnd => return None,
            }
        }
    }

    /// Serves nothing until it is ordered to; or until the model's files are others than `files`, and whole as far as can be
    /// seen: nothing has changed them for a while; or until there is memory, if the want of that is `why` there is no model.
    /// Returns the next fate, or `None` at the end.
    fn refuse_until_changed(
        &self,
        work: &mpsc::Receiver<Work>,
        files: &Files,
        why: &LoadError,
    ) -> Option<Fate> {
        let error = EngineError::ModelNotLoaded(why.to_string());
        let mut last = files.clone();
        loop {
            match refuse(work, &error, Some(GLANCE)) {
                Refused::ToTheEnd => return None,
                Refused::Told(fate) => return Some(fate),
                Refused::ForAWhile => {}
            }
            if matches!(why, LoadError::TooLarge { needed, .. } if available() >= needed.0) {
                log::info!("there is memory for the model now; it is loaded");
                return Some(Fate::Load);
            }
            let now = Files::of(&self.config.model);
            if now == last && now != *files {
                log::info!("the files of the model have changed; they are loaded again");
                return Some(Fate::Load);
            }
            last = now;
        }
    }

    /// The model, if there was one, did not crash the process.
    fn leave(&self) {
        if let Some(probe) = &self.probe {
            probe.leave(&self.config);
        }
    }

    fn load(&self, files: &Files) -> Result<(Loaded, Scheduler), LoadError> {
        let config = &self.config;
        let threads = Threads::start(threads(&config.engine), self.stop.clone());
        let threads = threads.map_err(|why| EngineError::Llama {
            doing: "starting threads",
            why,
        })?;
        // A first run takes as long as loading does.
        let start = match &self.probe {
            Some(probe) if probe.run(config, &mut |share| self.loading(share / 2.0))? => 0.5,
            _ => 0.0,
        };
        let mut progress = |share| self.loading(start + (1.0 - start) * share);
        heap::trim();
        let text = Text::open(&config.model.text, config.model.repack)?;
        let fit = memory::plan(config, &text)?;
        let foreseen = self.ahead.sort(&config.model.text);
        let model = Model::load(&config.model, &text, &threads, &mut progress)?;
        let model = Arc::new(model);
        let grammars = Arc::new(Grammars::new(&model, foreseen));
        self.ahead.compile(&grammars);
        let loaded = Loaded {
            model,
            grammars,
            threads,
            fit,
            files: files.clone(),
        };
        let is_scarce = self.scarcity.borrow().is_some();
        let cells = if is_scarce { fit.least } else { fit.cells };
        let scheduler = self.scheduler(&loaded, cells)?;
        Ok((loaded, scheduler))
    }

    /// A scheduler with so many cells.
    fn scheduler(&self, loaded: &Loaded, cells: u32) -> Result<Scheduler, EngineError> {
        let Loaded {
            model,
            threads,
            fit,
            ..
        } = loaded;
        let prefix = self.prefix(model, Kept::Answers)?;
        let config = (&self.config.engine, *fit, cells);
        let mut scheduler = Scheduler::new(model, threads, prefix, config, self.carried.clone())?;
        match self.prefix(model, Kept::Commands) {
            Ok((change, tokens)) => scheduler.keep(Kept::Commands, change, tokens),
            Err(error) => log::warn!("a system prompt is not kept in the cache: {error}"),
        }
        Ok(scheduler)
    }

    /// The tokens that are kept for requests of this kind, and the number of the change that made them so.
    fn prefix(&self, model: &Model, kept: Kept) -> Result<(u64, Vec<Token>), EngineError> {
        let (change, preamble) = self.keeping.of(kept);
        let tokens = preamble.map_or(Ok(Vec::new()), |it| prompt::prefix(model, &it))?;
        Ok((change, tokens))
    }

    /// Publishes how much of the model is loaded, in whole percents. Returns whether to go on loading.
    fn loading(&self, share: f32) -> bool {
        // A share is 0 to 1.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let percent = (share * 100.0) as u8;
        self.phase.send_if_modified(|phase| {
            let changed = !matches!(phase, Phase::Loading(before) if *before == percent);
            *phase = Phase::Loading(percent);
            changed
        });
        !self.stop.is_said()
    }
}

/// Bytes of memory that are free, if that is known.
fn available() -> u64 {
    crate::platform::memory::available().unwrap_or(u64::MAX)
}

/// Why requests are no longer refused.
enum Refused {
    /// The time is over.
    ForAWhile,
    /// The thread is to end.
    ToTheEnd,
    /// The model is to be loaded, or to go.
    Told(Fate),
}

/// Serves nothing, but stays reachable: requests fail with `error`, for this time, or until a fate or the end.
fn refuse(work: &mpsc::Receiver<Work>, error: &EngineError, time: Option<Duration>) -> Refused {
    let end = time.map(|time| Instant::now() + time);
    loop {
        let received = match end {
            Some(end) => work.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => work.recv().map_err(Into::into),
        };
        match received {
            Ok(Work::Beat(beat)) => drop(beat.send(())),
            Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => return Refused::ToTheEnd,
            Err(RecvTimeoutError::Timeout) => return Refused::ForAWhile,
            Ok(Work::Fate(fate)) => return Refused::Told(fate),
            Ok(work) => {
                for job in work.into_jobs() {
                    job.fail(error.clone());
                }
            }
        }
    }
}

/// Number of threads to compute with; by default one for each core, at most four. Decoding is bound by memory, so
/// more than four cores on one memory bus help little, and leave nothing for sound. More threads than cores
/// wait for each other.
fn threads(config: &config::Engine) -> i32 {
    const MOST: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match config.threads.get() as usize {
        0 => cores.min(MOST),
        threads if threads > cores => {
            log::warn!(
                "[engine] threads is {threads}, but gemmad may use {cores} cores; it computes with {cores} threads"
            );
            cores
        }
        threads => threads,
    };
    i32::try_from(threads).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::requests::Requests;
    use super::*;
    use crate::config::Bounded;
    use crate::engine::schedule::places::Places;
    use crate::engine::schedule::sequence::Job;
    use crate::engine::{Answer, Engine, Event, Priority, Request};

    /// A job that the handle never sends: a prompt has at least one token.
    fn impossible_job(engine: &Engine) -> (Job, Answer) {
        let (outlet, answer) = Answer::new(1);
        let place = Places::take(&engine.places, Priority::Question).unwrap();
        let request = Request::question(&config::Answer::default(), String::new());
        let place = Arc::new(place);
        let job = Requests::job(
            &request,
            None,
            vec![],
            Priority::Question,
            place,
            (1, outlet),
        );
        (job.unwrap(), answer)
    }

    #[tokio::test]
    async fn a_fault_while_answering_is_told_to_everybody_and_to_who_restarts_the_daemon() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let mut config = Config::default();
        config.model.text = folder.join("nano-f16.gguf");
        config.model.mmproj = folder.join("nano-f16.mmproj.gguf");
        config.engine.threads = Bounded::new(1).unwrap();
        // All begin at once.
        config.engine.parallel = Bounded::new(16).unwrap();
        let engine = Engine::start(&config, None).unwrap();
        engine.load();
        let mut long = Request::question(&config.answer, "tell me everything".into());
        (long.min_tokens, long.max_tokens) = (2000, 2000);
        let mut running = engine.submit(long.clone()).await.unwrap();
        assert!(matches!(running.next().await, Event::Text(_)));
        let waiting: Vec<_> = [long.clone(), long.clone(), long.clone()]
            .map(|request| engine.submit(request))
            .into_iter()
            .collect();
        let mut answers = vec![running];
        for waiting in waiting {
            answers.push(waiting.await.unwrap());
        }
        let (job, answer) = impossible_job(&engine);
        answers.push(answer);
        engine.work.send(Work::Job(Box::new(job))).unwrap();

        engine.crashed().await;
        for answer in answers {
            assert_eq!(answer.text().await.unwrap_err(), EngineError::Crashed);
        }
        let refused = engine.submit(long).await.unwrap_err();
        assert!(
            matches!(refused, EngineError::ModelNotLoaded(_)),
            "{refused}"
        );
        assert!(
            matches!(&*engine.phase().borrow(), Phase::Failed(why) if why.contains("answering"))
        );
        assert_eq!(engine.health().queued, 0);
        engine.stop().await;
    }

    #[test]
    fn there_are_never_more_threads_than_cores() {
        let cores = std::thread::available_parallelism().unwrap().get();
        let config = |threads| config::Engine {
            threads: Bounded::new(threads).unwrap(),
            ..config::Engine::default()
        };
        assert_eq!(threads(&config(256)), i32::try_from(cores).unwrap());
        assert_eq!(threads(&config(1)), 1);
        assert!((1..=4).contains(&threads(&config(0))));
    }
}
